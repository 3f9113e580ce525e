//! Randomness and clocks for threads on which a world runs: what the operating system gives otherwise.
//!
//! The engine under the core draws some numbers from the operating system (SCTP's tags, the order of the standard
//! library's hash maps) and reads its clocks (the sender reports' epoch). A library must not change that for a
//! program, so it is the program that does: [`interpose!`](crate::interpose!) defines `getrandom` and
//! `clock_gettime` in the binary that calls it, and in no other. They ask this module. On a thread of
//! [`isolated`] it answers from a seed and from virtual time; on every other thread the system call runs.
//!
//! Linux on x86-64 and aarch64 only. Elsewhere, and in a binary without the macro, equal seeds still give equal
//! decisions of our own machines, and a [`Digest`](crate::Digest) covers times, lengths and events alone.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::panic::resume_unwind;
use std::sync::{LazyLock, Once};
use std::time::{Duration, Instant};

use rtcmesh_core::transport::Transport;

/// The monotonic clock at the beginning of every isolated run.
///
/// The engine keeps the first instant that it sees, less an hour, as the beginning of time: here that is zero, which
/// no real instant of the same process precedes.
const START: Duration = Duration::from_secs(3600);

/// The wall clock at that instant: the first second of 2026.
const UNIX_START: Duration = Duration::from_secs(1_767_225_600);

/// Clocks of the processor's own time, which stay real (`CLOCK_PROCESS_CPUTIME_ID`, `CLOCK_THREAD_CPUTIME_ID`).
const CPU_CLOCKS: [i32; 2] = [2, 3];

/// Clocks of the wall (`CLOCK_REALTIME`, `CLOCK_REALTIME_COARSE`, `CLOCK_TAI` without its leap seconds).
const WALL_CLOCKS: [i32; 3] = [0, 5, 11];

#[derive(Debug, Clone, Copy)]
struct Thread {
    /// SplitMix64's state.
    random: u64,
    /// Virtual time since the start.
    elapsed: Duration,
    /// What `Instant::now` gave at the start.
    start: Option<Instant>,
}

thread_local! {
    // Without a destructor and without lazy initialisation: it is read below the standard library.
    static THREAD: Cell<Option<Thread>> = const { Cell::new(None) };
}

fn update<T>(change: impl FnOnce(&mut Thread) -> T) -> Option<T> {
    let changed = THREAD.try_with(|cell| {
        let mut thread = cell.get()?;
        let value = change(&mut thread);
        cell.set(Some(thread));
        Some(value)
    });
    changed.ok().flatten()
}

/// Whether the calling thread is one of [`isolated`].
fn on() -> bool {
    update(|_| ()).is_some()
}

/// The next 64 random bits of an isolated thread; `None` on any other. For the macro.
#[doc(hidden)]
#[must_use]
pub fn draw() -> Option<u64> {
    // SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
    update(|thread| {
        thread.random = thread.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = thread.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// Seconds and nanoseconds on a clock (by its number in `clock_gettime`) of an isolated thread; `None` on
/// any other thread, and of the processor's own time. For the macro.
#[doc(hidden)]
#[must_use]
pub fn clock(number: i32) -> Option<(i64, i64)> {
    if CPU_CLOCKS.contains(&number) {
        return None;
    }
    let start = if WALL_CLOCKS.contains(&number) { UNIX_START } else { START };
    let at = update(|thread| start + thread.elapsed)?;
    Some((i64::try_from(at.as_secs()).ok()?, i64::from(at.subsec_nanos())))
}

/// Sets the clocks of an isolated thread; nothing on any other. They never run backwards.
pub(crate) fn set_now(now: Instant) {
    update(|thread| {
        if let Some(start) = thread.start {
            thread.elapsed = thread.elapsed.max(now.saturating_duration_since(start));
        }
    });
}

/// Whether the calling thread's randomness and clocks are a world's own: it is one of [`isolated`], in a binary that
/// calls [`interpose!`](crate::interpose!), on a platform that has it.
#[must_use]
pub fn active() -> bool {
    on() && linked()
}

/// Whether this binary has the macro's functions, and everybody calls them.
fn linked() -> bool {
    static LINKED: LazyLock<bool> = LazyLock::new(|| {
        let probe = || {
            fresh_thread(7, || {
                set_now(Instant::now() + Duration::from_secs(1));
                (Instant::now(), RandomState::new().hash_one(0))
            })
        };
        probe() == probe()
    });
    *LINKED
}

/// Runs something on a thread of its own whose randomness follows from `seed` and whose clocks stand still until
/// a [`World`](crate::World) there moves them. A panic goes on in the caller.
///
/// In a binary with [`interpose!`](crate::interpose!), equal seeds give equal runs, byte for byte, in this process and in any
/// other. Without it this is a plain thread.
///
/// Do not wait there with a time limit: the clock does not move. Threads that it starts are not isolated.
pub fn isolated<T: Send>(seed: u64, run: impl FnOnce() -> T + Send) -> T {
    prepare();
    fresh_thread(seed, run)
}

/// What a process does but once is done at the virtual start, whoever comes first: the engine's beginning of time,
/// which is in every sender report, and the first use of the cryptography.
pub(crate) fn prepare() {
    static DONE: Once = Once::new();
    if !on() && linked() {
        DONE.call_once(|| fresh_thread(0, || Transport::warm_up(Instant::now())));
    }
}

fn fresh_thread<T: Send>(seed: u64, run: impl FnOnce() -> T + Send) -> T {
    let isolated = || {
        THREAD.set(Some(Thread { random: seed, elapsed: Duration::ZERO, start: None }));
        let start = Instant::now();
        update(|thread| thread.start = Some(start));
        run()
    };
    let result = std::thread::scope(|scope| scope.spawn(isolated).join());
    result.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Defines `getrandom` and `clock_gettime` in the binary that calls it, once, at the root of a program or a test:
/// they answer from a seed and from virtual time on threads of [`isolated`], and make the
/// system call on every other.
///
/// On platforms other than Linux on x86-64 and aarch64 it defines nothing.
///
/// ```
/// rtcmesh_sim::interpose!();
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! interpose {
    () => {
        #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
        #[allow(unsafe_code)]
        mod rtcmesh_interposed {
            use ::std::ffi::{c_int, c_long, c_uint, c_void};

            // arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h of Linux.
            #[cfg(target_arch = "x86_64")]
            const GETRANDOM: c_long = 318;
            #[cfg(target_arch = "x86_64")]
            const CLOCK_GETTIME: c_long = 228;
            #[cfg(target_arch = "aarch64")]
            const GETRANDOM: c_long = 278;
            #[cfg(target_arch = "aarch64")]
            const CLOCK_GETTIME: c_long = 113;

            unsafe extern "C" {
                /// Sets `errno`, as the functions here have to.
                fn syscall(number: c_long, ...) -> c_long;
            }

            /// `struct timespec` of both architectures.
            #[repr(C)]
            struct Timespec {
                seconds: i64,
                nanoseconds: i64,
            }

            /// # Safety
            /// As getrandom(2): `buffer` takes `length` bytes.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn getrandom(
                buffer: *mut c_void,
                length: usize,
                flags: c_uint,
            ) -> isize {
                let mut at = 0;
                while at < length {
                    let ::std::option::Option::Some(word) = $crate::interpose::draw() else {
                        break;
                    };
                    let bytes = word.to_le_bytes();
                    let count = ::std::cmp::min(bytes.len(), length - at);
                    // SAFETY: `at + count` is at most `length`; what is written may be uninitialised.
                    unsafe {
                        ::std::ptr::copy_nonoverlapping(
                            bytes.as_ptr(),
                            buffer.cast::<u8>().add(at),
                            count,
                        );
                    }
                    at += count;
                }
                if at > 0 {
                    return length as isize;
                }
                // SAFETY: the caller's own arguments.
                unsafe { syscall(GETRANDOM, buffer, length, flags) as isize }
            }

            /// # Safety
            /// As clock_gettime(2): `time` takes a `struct timespec`.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int {
                match $crate::interpose::clock(clock) {
                    ::std::option::Option::Some((seconds, nanoseconds)) if !time.is_null() => {
                        // SAFETY: by the contract of this function.
                        unsafe { time.write(Timespec { seconds, nanoseconds }) };
                        0
                    }
                    // SAFETY: the caller's own arguments.
                    _ => unsafe { syscall(CLOCK_GETTIME, clock, time) as c_int },
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_without_the_macro_has_the_real_clocks() {
        assert!(!isolated(1, active));
        let (before, within) = (Instant::now(), isolated(1, Instant::now));
        assert!(before <= within && within <= Instant::now());
    }

    #[test]
    fn a_thread_that_is_not_isolated_is_told_nothing() {
        assert_eq!((draw(), clock(0), clock(1)), (None, None, None));
    }

    #[test]
    fn clocks_follow_the_world_and_never_run_backwards() {
        isolated(1, || {
            // In this binary the real clock is what the start is counted from.
            let start = update(|thread| thread.start).flatten().expect("a start");
            set_now(start + Duration::from_millis(1_500));
            set_now(start);
            assert_eq!(clock(1), Some((3_601, 500_000_000)));
            assert_eq!(clock(0), Some((1_767_225_601, 500_000_000)));
            assert_eq!((clock(2), clock(3)), (None, None), "the processor's own time stays real");
        });
    }

    #[test]
    fn draws_are_those_of_splitmix64() {
        // The first outputs of the published generator for the state 1234567.
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973];
        assert_eq!(isolated(1_234_567, || [draw(), draw()]), expected.map(Some));
    }
}
