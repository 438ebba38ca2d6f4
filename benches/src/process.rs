//! What processes take, as Linux counts it: memory and the time of processors.
//! <https://www.kernel.org/doc/html/latest/filesystems/proc.html>

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::Failure;

/// How often the memory of a process and its children is looked at.
const LOOKED_AT: Duration = Duration::from_millis(5);
/// Ticks in which Linux counts for programs, on every architecture that it has today.
/// <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>
const TICKS: f64 = 100.0;

fn status(process: &str, field: &str) -> Result<u64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()).ok_or("no such line in /proc/<pid>/status")?;
    Ok(kibibytes.parse::<u64>()? * 1_024)
}

/// Bytes that a process has now, by its id or `self`.
pub fn resident(process: &str) -> Result<u64, Failure> {
    status(process, "VmRSS")
}

/// The most bytes that a process ever had; or since they were last forgotten.
pub fn peak(process: &str) -> Result<u64, Failure> {
    status(process, "VmHWM")
}

/// Forgets the most that a process ever had.
pub fn forget_peak(process: &str) -> Result<(), Failure> {
    Ok(std::fs::write(format!("/proc/{process}/clear_refs"), "5")?)
}

/// Milliseconds that processors have worked for a process and for its children that have ended.
pub fn worked(process: u32) -> Result<f64, Failure> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name may have anything in it, and ends with the last parenthesis.
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in /proc/<pid>/stat")?;
    let times: Vec<&str> = fields.split_whitespace().skip(11).take(4).collect();
    let ticks: u64 = times.iter().map(|time| time.parse::<u64>()).sum::<Result<u64, _>>()?;
    Ok(ticks as f64 * 1_000.0 / TICKS)
}

/// The processes that a process has started and that have not ended.
pub fn children(process: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

fn with_children(process: u32) -> u64 {
    let own = resident(&process.to_string()).unwrap_or_default();
    own + children(process).into_iter().map(with_children).sum::<u64>()
}

/// Looks at the memory of a process with its children, as they come and go, for as long as it is there.
pub struct Watch {
    most: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins.
    pub fn begin(process: u32) -> Self {
        let (most, is_over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (noted, ended) = (Arc::clone(&most), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                noted.fetch_max(with_children(process), Ordering::Relaxed);
                std::thread::sleep(LOOKED_AT);
            }
        });
        Self { most, is_over, thread: Some(thread) }
    }

    /// The most bytes that they had together at a time. Pages that they share count once for each.
    pub fn most(&self) -> u64 {
        self.most.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            eprintln!("the memory of a process was not looked at to the end");
        }
    }
}
