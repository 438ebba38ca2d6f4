//! Limits, and how much of each a load takes.

use crate::page::grouped;

/// What is seen where the door lets no more through.
pub const THROTTLED: &str = "429 `unavailable` with `Retry-After: 1`, from the door";
/// What is seen where Lambda takes no more.
pub const TOO_MANY_AT_A_TIME: &str = "503 `unavailable`, from the door";
/// What is seen where a call is throttled for long.
pub const TRIED_FOUR_TIMES: &str = "503 `unavailable`, after four tries";
/// What is seen where a transaction is.
pub const TRIED_TEN_TIMES: &str = "503 `unavailable`, after ten tries or 20 seconds";
/// What could be done about the door.
pub const RAISE: &str = "a higher number in the template, up to the quota of the account";
/// What could be done about a quota.
pub const QUOTA: &str = "a quota of the account, which AWS raises";
/// What could be done about S3.
pub const S3_SPLITS: &str = "none is needed: S3 splits a prefix after some minutes, and each repository has its own";

/// How much of something there is: one of the cases.
pub struct Case {
    /// Its plot is called that.
    pub name: &'static str,
    /// What is on the plot.
    pub title: &'static str,
    /// What the load is counted in.
    pub unit: &'static str,
    /// The powers of ten from which and to which it is looked at.
    pub powers: (i32, i32),
    /// The load that is asked about.
    pub load: f64,
    /// In any order.
    pub limits: Vec<Limit>,
}

/// A limit.
pub struct Limit {
    /// What it bounds.
    pub name: String,
    /// The part of it that a load takes; it never falls while the load grows.
    used: Box<dyn Fn(f64) -> f64>,
    /// What is seen beyond it.
    pub seen: &'static str,
    /// What could be done.
    pub next: &'static str,
}

impl Limit {
    /// A limit with what is seen beyond it and what could be done.
    pub fn new(
        name: impl Into<String>,
        seen: &'static str,
        next: &'static str,
        used: impl Fn(f64) -> f64 + 'static,
    ) -> Self {
        Self { name: name.into(), used: Box::new(used), seen, next }
    }

    /// The part of it that a load takes.
    pub fn used(&self, load: f64) -> f64 {
        (self.used)(load)
    }

    /// The load that takes all of it; none if that is more than the largest.
    pub fn reached(&self, (lowest, highest): (i32, i32)) -> Option<f64> {
        let (mut below, mut above) = (10_f64.powi(lowest), 10_f64.powi(highest));
        if self.used(above) < 1.0 {
            return None;
        }
        // A square root is the same on every machine.
        for _ in 0..50 {
            let middle = (below * above).sqrt();
            if self.used(middle) < 1.0 { below = middle } else { above = middle }
        }
        Some(above)
    }
}

impl Case {
    /// The limits with the loads at which they are reached, the first one first.
    pub fn by_load(&self) -> Vec<(&Limit, Option<f64>)> {
        let mut limits: Vec<_> = self.limits.iter().map(|limit| (limit, limit.reached(self.powers))).collect();
        limits.sort_by(|(_, one), (_, other)| one.unwrap_or(f64::MAX).total_cmp(&other.unwrap_or(f64::MAX)));
        limits
    }

    /// Where a limit is reached, in words.
    pub fn where_reached(&self, reached: Option<f64>) -> String {
        reached.map_or_else(|| format!("over {}", about(10_f64.powi(self.powers.1))), about)
    }
}

/// Two digits that count, in words where it has many.
pub fn about(value: f64) -> String {
    let (value, word) = match value {
        value if value >= 995_000_000.0 => (value / 1e9, " billion"),
        value if value >= 995_000.0 => (value / 1e6, " million"),
        value => (value, ""),
    };
    let digits = if value < 9.95 && (value - value.round()).abs() > 0.05 { 1 } else { 0 };
    let rounded = if value >= 100.0 {
        let mut unit = 10.0;
        while value / unit >= 99.5 {
            unit *= 10.0;
        }
        (value / unit).round() * unit
    } else {
        value
    };
    format!("{}{word}", grouped(rounded, digits))
}

/// A part in percent.
pub fn percent(part: f64) -> String {
    match part * 100.0 {
        percent if percent < 0.095 => "under 0.1 %".to_owned(),
        percent => format!("{} %", about(percent)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_two_digits_that_count() {
        let said = [0.44, 1.0, 9.94, 9.96, 23.4, 149.0, 1_250.0, 99_400.0, 996_000.0, 8_790_000.0, 2.1e9].map(about);
        let expected =
            ["0.4", "1", "9.9", "10", "23", "150", "1,300", "99,000", "1 million", "8.8 million", "2.1 billion"];
        assert_eq!(said, expected);
        assert_eq!([0.0001, 0.004, 1.0, 1.142].map(percent), ["under 0.1 %", "0.4 %", "100 %", "110 %"]);
    }

    #[test]
    fn a_limit_is_reached_where_all_of_it_is_taken() {
        let of = |most: f64| Limit::new("", "", "", move |load| load / most);
        let reached = of(5_000.0).reached((0, 6)).unwrap();
        assert!((reached - 5_000.0).abs() < 1e-6, "{reached}");
        assert_eq!(of(1e7).reached((0, 6)), None);
        let case =
            Case { name: "", title: "", unit: "", powers: (0, 6), load: 1.0, limits: vec![of(1e7), of(50.0), of(5.0)] };
        let order: Vec<_> = case.by_load().iter().map(|(_, at)| case.where_reached(*at)).collect();
        assert_eq!(order, ["5", "50", "over 1 million"]);
    }
}
