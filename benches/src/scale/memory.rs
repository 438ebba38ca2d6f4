//! The memory of a process, as Linux counts it.
//! <https://www.kernel.org/doc/html/latest/filesystems/proc.html>

use crate::Failure;

fn status(process: &str, field: &str) -> Result<u64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()).ok_or("no such line in /proc/<pid>/status")?;
    Ok(kibibytes.parse::<u64>()? * 1_024)
}

/// Bytes that this process has now.
pub fn resident() -> Result<u64, Failure> {
    status("self", "VmRSS")
}

/// The most bytes that a process ever had, by its id or `self`; or since they were last forgotten.
pub fn peak(process: &str) -> Result<u64, Failure> {
    status(process, "VmHWM")
}

/// Forgets the most that this process ever had.
pub fn forget_peak() -> Result<(), Failure> {
    Ok(std::fs::write("/proc/self/clear_refs", "5")?)
}
