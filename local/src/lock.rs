//! Locks that keep a second process out of a folder or a file.

use std::fs::{File, TryLockError};
use std::thread;
use std::time::Duration;

/// How often a lock is tried for, and how long the pause between is: a second in all. Its last holder may still be
/// ending. And a program that another thread starts shares every lock of this process for a moment, until it runs.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// Locks a file for as long as it stays open. Blocks for up to a second.
///
/// # Errors
/// `WouldBlock` while another process has the lock.
pub fn take(file: &File) -> Result<(), TryLockError> {
    take_with(file, || thread::sleep(PAUSE))
}

fn take_with(file: &File, mut pause: impl FnMut()) -> Result<(), TryLockError> {
    for _ in 1..TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => pause(),
            done => return done,
        }
    }
    file.try_lock()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_let_go_soon_is_waited_for_and_another_is_not() {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let open = || File::options().write(true).open(&path).unwrap();
        let mut before = Some(open());
        before.as_ref().unwrap().try_lock().unwrap();

        let refused = take_with(&open(), || {}).unwrap_err();
        assert!(matches!(refused, TryLockError::WouldBlock), "{refused}");
        let mut pauses = 0;
        let wait = || {
            pauses += 1;
            if pauses == 3 {
                before = None;
            }
        };
        take_with(&open(), wait).unwrap();
        assert_eq!(pauses, 3);
    }
}
