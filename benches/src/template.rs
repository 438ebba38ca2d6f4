//! What `template.yaml` says that bounds something.

use crate::Failure;

/// What the door lets through of one method of one path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Throttle {
    /// Requests a second.
    pub rate: f64,
    /// Requests at once, if none came for a while.
    pub burst: f64,
}

/// The throttle of a path, or of each path that has none of its own: `/*`.
pub fn throttle(template: &str, path: &str) -> Result<Throttle, Failure> {
    // A resource is named by its path in which each slash is `~1`, behind a slash.
    let resource = if path == "/*" { path.to_owned() } else { format!("/{}", path.replace('/', "~1")) };
    let after = behind(template, &format!("ResourcePath: {resource}\n"))?;
    Ok(Throttle { rate: number(after, "ThrottlingRateLimit: ")?, burst: number(after, "ThrottlingBurstLimit: ")? })
}

/// The default of a parameter that is a number.
pub fn parameter(template: &str, name: &str) -> Result<f64, Failure> {
    number(behind(template, &format!("\n  {name}:\n"))?, "Default: ")
}

fn behind<'t>(template: &'t str, what: &str) -> Result<&'t str, Failure> {
    Ok(template.split_once(what).ok_or_else(|| format!("template.yaml lacks {what}"))?.1)
}

fn number(text: &str, name: &str) -> Result<f64, Failure> {
    let after = behind(text, name)?;
    Ok(after.lines().next().unwrap_or_default().trim().parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttle_is_that_of_its_path() {
        let template = "- ResourcePath: /*\n  ThrottlingRateLimit: 100\n  ThrottlingBurstLimit: 200\n\
                        - ResourcePath: /~1{owner}~1fetch\n  ThrottlingRateLimit: 20\n  ThrottlingBurstLimit: 40\n";
        assert_eq!(throttle(template, "/*").unwrap(), Throttle { rate: 100.0, burst: 200.0 });
        assert_eq!(throttle(template, "/{owner}/fetch").unwrap(), Throttle { rate: 20.0, burst: 40.0 });
        assert!(throttle(template, "/{owner}/refs").is_err());
    }
}
