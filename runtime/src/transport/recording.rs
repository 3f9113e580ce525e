//! Writing a transport's recording to a file, on a thread of its own.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rtcmesh_core::trace::{RecordOptions, Recorder};

/// How often what was recorded is written: little is lost where the process is killed.
const INTERVAL: Duration = Duration::from_millis(100);

/// A recording on its way into a file. It goes on until the transport is gone or this is dropped or finished.
#[derive(Debug)]
pub struct RecordingFile {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl RecordingFile {
    /// Makes the file, readable by its owner alone, and begins to write.
    pub(super) fn begin(file: File, recorder: Recorder) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let write = move || write_all(file, &recorder, |wait| stopped.recv_timeout(wait));
        let thread = thread::Builder::new().name("rtcmesh-record".into()).spawn(write)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }

    /// Writes the rest and closes the file. It waits for the disk.
    ///
    /// # Errors
    /// What the system says of writing it, whenever that was.
    pub fn finish(mut self) -> io::Result<()> {
        self.stop = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(io::Error::other("the thread that writes the recording panicked")),
            None => Ok(()),
        }
    }
}

/// Begins a recording that goes into a file.
///
/// The recorder comes first: a file that is there, maybe of a recording that goes on, is emptied only once it is
/// known that there is something to write.
pub(super) fn to_file(
    path: &Path,
    options: &RecordOptions,
    recorder: impl FnOnce() -> io::Result<Recorder>,
) -> io::Result<RecordingFile> {
    if options.ring {
        let why = "a ring is kept in memory and cannot be written to a file as it grows";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let recorder = recorder()?;
    RecordingFile::begin(create(path)?, recorder)
}

/// Opens a new file for a recording: mode 0600, since it tells who talked with whom, and when.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    // One that was there may have been open to others.
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(file)
}

fn write_all(
    mut file: File,
    recorder: &Recorder,
    wait: impl Fn(Duration) -> Result<(), RecvTimeoutError>,
) -> io::Result<()> {
    loop {
        let last = recorder.is_over() || wait(INTERVAL) == Err(RecvTimeoutError::Disconnected);
        file.write_all(&recorder.take())?;
        if last {
            let dropped = recorder.dropped();
            if dropped > 0 {
                tracing::warn!(dropped, "a recording ends early: it was not written fast enough");
            }
            return file.flush();
        }
    }
}
