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

/// A recording on its way into a file. It goes on until the transport is gone or this is dropped or finished; a ring is
/// written then.
#[derive(Debug)]
pub struct RecordingFile {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl RecordingFile {
    /// Begins to write.
    pub(super) fn begin(file: File, recorder: Recorder, ring: bool) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let write = move || write_all(file, &recorder, ring, |wait| stopped.recv_timeout(wait));
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
/// The file comes first: a transport is recorded once, and should not be for nothing. One that is there, maybe of a
/// recording that goes on, is emptied only once it is known that there is something to write.
pub(super) fn to_file(
    path: &Path,
    options: &RecordOptions,
    recorder: impl FnOnce() -> io::Result<Recorder>,
) -> io::Result<RecordingFile> {
    let (file, made) = open(path)?;
    match recorder() {
        Ok(recorder) => {
            empty(&file)?;
            RecordingFile::begin(file, recorder, options.ring)
        }
        Err(error) => {
            if made {
                // The error that counts is the other one.
                let _ = std::fs::remove_file(path);
            }
            Err(error)
        }
    }
}

/// Opens a file for a recording, and says whether it is a new one: mode 0600, since it tells who talked with whom, and
/// when. One that was there stays as it is, and is known to be ours.
fn open(path: &Path) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.clone().create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return Ok((made?, true)),
    }
    let file = options.open(path)?;
    // Whether they can be changed is better known before than after.
    #[cfg(unix)]
    file.set_permissions(file.metadata()?.permissions())?;
    Ok((file, false))
}

/// Empties a file, which may have been there and open to others.
fn empty(file: &File) -> io::Result<()> {
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    // What is no regular file has no length to be changed.
    if file.metadata()?.len() > 0 { file.set_len(0) } else { Ok(()) }
}

fn write_all(
    mut file: File,
    recorder: &Recorder,
    ring: bool,
    wait: impl Fn(Duration) -> Result<(), RecvTimeoutError>,
) -> io::Result<()> {
    loop {
        let last = recorder.is_over() || wait(INTERVAL) == Err(RecvTimeoutError::Disconnected);
        // Of a ring each is a whole file.
        if last || !ring {
            file.write_all(&recorder.take())?;
        }
        if last {
            let dropped = recorder.dropped();
            if dropped > 0 && !ring {
                tracing::warn!(dropped, "a recording ends early: it was not written fast enough");
            }
            return file.flush();
        }
    }
}
