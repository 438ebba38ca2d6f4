//! How a reader wants differences to be shown.

use serde::Serialize;

/// How line diffs are laid out: the `view` of a query.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub enum DiffView {
    /// One column, removed lines above added ones. `?view=unified`, or no `view`.
    #[default]
    Unified,
    /// Two columns. `?view=split`.
    Split,
}

impl DiffView {
    /// The view that a query's `view` names; any other value is [`DiffView::Unified`].
    pub fn parse(view: &str) -> Self {
        if view == "split" { Self::Split } else { Self::Unified }
    }

    /// What a query's `view` calls it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unified => "unified",
            Self::Split => "split",
        }
    }
}
