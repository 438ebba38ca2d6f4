//! What the commands share that ask a hub: where it is, who asks, and how the answer is printed.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use client::{Address, HubClient, HubUrl, Remote};
use local::identity;
use serde::Serialize;
use tabwriter::TabWriter;

use crate::moving::{AtHand, remote};

/// The variable that the token for a hub elsewhere is in: an argument would be seen by every user of the machine.
pub const TOKEN: &str = "MUSEHUB_TOKEN";

/// A repository, who asks about it, and how the answer is printed.
#[derive(Args)]
pub struct OfRepo {
    /// The repository: owner/slug of the stores at hand, or a URL
    #[arg(value_name = "OWNER/SLUG")]
    repo: Address,
    /// The file that the token for a URL is in; else the variable MUSEHUB_TOKEN, else ~/.muse/identity.toml
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    at_hand: AtHand,
    #[command(flatten)]
    pub printed: Printed,
}

/// A hub, who asks it, and how the answer is printed.
#[derive(Args)]
pub struct OfHub {
    /// The URL of the hub, for example https://hub.example.com
    #[arg(long, value_name = "URL")]
    pub hub: HubUrl,
    /// The file that the token is in; else the variable MUSEHUB_TOKEN, else ~/.muse/identity.toml
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    pub printed: Printed,
}

/// How an answer is printed.
#[derive(Args)]
pub struct Printed {
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

impl OfRepo {
    /// What is asked about the repository, and what that is called.
    pub async fn ask<T>(
        &self,
        ask: impl AsyncFnOnce(&Remote) -> Result<T, Box<dyn Error>>,
    ) -> Result<(String, T), Box<dyn Error>> {
        self.at_hand
            .while_open(&[&self.repo], async |at_hand| {
                let remote = remote(&self.repo, at_hand, TOKEN, self.token_file.as_deref()).await?;
                let answer = ask(&remote).await?;
                Ok((remote.to_string(), answer))
            })
            .await
    }
}

impl OfHub {
    /// The hub, for who asks.
    pub fn client(&self) -> Result<HubClient, Box<dyn Error>> {
        let token = identity::given_or_kept(&self.hub, TOKEN, self.token_file.as_deref())?;
        Ok(HubClient::at(self.hub.clone(), token.as_deref())?)
    }
}

impl Printed {
    /// Prints an answer: as JSON, or as `text` says it.
    pub fn print(&self, answer: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Box<dyn Error>> {
        let mut out = std::io::stdout().lock();
        match self.json {
            true => writeln!(out, "{}", serde_json::to_string_pretty(answer)?)?,
            false => writeln!(out, "{}", text())?,
        }
        Ok(())
    }

    /// Prints a list: as JSON, or as a table of these columns.
    pub fn table<const COLUMNS: usize>(
        &self,
        answer: &impl Serialize,
        head: [&str; COLUMNS],
        rows: impl Iterator<Item = [String; COLUMNS]>,
    ) -> Result<(), Box<dyn Error>> {
        if self.json {
            return self.print(answer, String::new);
        }
        write_columns(std::iter::once(head.map(str::to_owned)).chain(rows))
    }

    /// Prints what is said of one thing: as JSON, or a line each of what it is and what is said.
    pub fn facts(&self, answer: &impl Serialize, facts: &[(&str, &str)]) -> Result<(), Box<dyn Error>> {
        if self.json {
            return self.print(answer, String::new);
        }
        // What is not said has no line.
        let said = facts.iter().filter(|(_, said)| !said.is_empty());
        write_columns(said.map(|(what, said)| [format!("{what}:"), (*said).to_owned()]))
    }
}

/// Prints rows below one another, each cell as wide as its column.
fn write_columns<const COLUMNS: usize>(rows: impl Iterator<Item = [String; COLUMNS]>) -> Result<(), Box<dyn Error>> {
    std::io::stdout().lock().write_all(columns(rows)?.as_bytes())?;
    Ok(())
}

fn columns<const COLUMNS: usize>(rows: impl Iterator<Item = [String; COLUMNS]>) -> Result<String, Box<dyn Error>> {
    let mut table = TabWriter::new(Vec::new());
    for row in rows {
        // What others have named does not move the cursor.
        let cells = row.map(|cell| cell.chars().map(|c| if c.is_control() { '?' } else { c }).collect::<String>());
        writeln!(table, "{}", cells.join("\t"))?;
    }
    let table = String::from_utf8(table.into_inner().map_err(|error| error.to_string())?)?;
    Ok(table.lines().map(|line| format!("{}\n", line.trim_end())).collect())
}

#[cfg(test)]
mod tests {
    use super::columns;

    #[test]
    fn columns_stand_below_one_another_where_cells_are_empty_or_hostile() {
        let rows =
            [["BRANCH", "FROM", "DEFAULT"], ["a", "", ""], ["main\t\x1b[31m", "", "default"], ["ä", "force", ""]];
        let table = columns(rows.map(|row| row.map(str::to_owned)).into_iter()).unwrap();
        let expected = ["BRANCH      FROM   DEFAULT", "a", "main??[31m         default", "ä           force"];
        assert_eq!(table.lines().collect::<Vec<_>>(), expected);
    }
}
