//! `musehub secret`: another token secret, while tokens of the one before stay good.

use std::error::Error;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use local::data::{DataFolder, new_secret};
use local::stores::{self, DEFAULT_DATA};
use store::ambient::Ambient;
use store::table::transaction::Outcome;
use store::{Location, Store};

#[derive(Subcommand)]
pub enum Secret {
    /// Draw another token secret; tokens of the one before stay good
    ///
    /// It counts in processes that start from then on: start `musehub serve` again, or on AWS run scripts/functions.sh restart. Until
    /// then they take tokens of the one before alone.
    Rotate(Kept),
    /// Take tokens of the secret before no more
    ///
    /// It counts in processes that start from then on.
    Drop(Kept),
}

/// Where the secret is.
#[derive(Args)]
pub struct Kept {
    /// The data folder with the secret
    #[arg(long, default_value = DEFAULT_DATA, value_name = "FOLDER")]
    data: PathBuf,
    /// The DynamoDB table of a hub on AWS, which holds its secret; reached as the AWS CLI would reach it
    #[arg(long, conflicts_with = "data", value_name = "TABLE")]
    table: Option<String>,
}

/// Runs `musehub secret`.
pub async fn secret(command: Secret) -> Result<(), Box<dyn Error>> {
    let ambient = Ambient::system();
    let (kept, change): (_, fn(&str, &Ambient) -> String) = match command {
        Secret::Rotate(kept) => (kept, rotated),
        Secret::Drop(kept) => (kept, dropped),
    };
    let none = || "there is no token secret yet: 'musehub token' draws one";
    if let Some(table) = kept.table {
        let config = stores::aws().await;
        let store = Store::new(&config, &config, Location { table, bucket: String::new() }, ambient.clone());
        let before = store.token_secret().await?.ok_or_else(none)?;
        if store.change_token_secret(&before, &change(&before, &ambient)).await? == Outcome::Conflict {
            return Err("the secret was changed by another at the same time: look, and try again".into());
        }
    } else {
        if !DataFolder::is_at(&kept.data) {
            return Err(format!("there is no data folder {}: name it with --data", kept.data.display()).into());
        }
        let folder = DataFolder::open(&kept.data)?;
        let before = folder.kept_secret()?.ok_or_else(none)?;
        folder.keep_secret(&change(&before, &ambient))?;
    }
    println!("It counts in processes that start from now on.");
    Ok(())
}

/// A new secret, and the one that tokens were signed with.
fn rotated(before: &str, ambient: &Ambient) -> String {
    format!("{}\n{}", new_secret(ambient), dropped(before, ambient))
}

/// The secret that tokens are signed with, alone.
fn dropped(before: &str, _: &Ambient) -> String {
    before.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_secrets_count_at_most_and_the_newest_signs() {
        let ambient = Ambient::system();
        let once = rotated("old", &ambient);
        let twice = rotated(&once, &ambient);
        let lines: Vec<&str> = twice.lines().collect();
        assert_eq!((lines.len(), lines[1]), (2, once.lines().next().unwrap()));
        assert_ne!(lines[0], lines[1]);
        assert_eq!(dropped(&twice, &ambient), lines[0]);
    }
}
