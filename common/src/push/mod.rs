//! What a push comes to: what of its bundle is new, whether all that it reaches is there, and where its branch goes.
//!
//! Pure: the bundle is validated by itself ([`validate`]), what the repo has of all that it names is looked up into [`Known`], and
//! from the two follows the plan ([`ValidatedBundle::plan`]). It is made again, against newer heads, whenever another push was
//! faster. A branch may be protected: [`Protection`] says what it lets be done.

mod known;
mod plan;
mod protection;

pub use known::Known;
pub use plan::{End, PushPlan, Reach, Update, ValidatedBundle, validate};
pub use protection::{BranchChange, Protection};
