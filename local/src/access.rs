//! `musehub member`, `musehub link` and `musehub token`: who may do what with a repository, and with which token.

use std::error::Error;

use clap::{Args, Subcommand};
use common::wire::Text;
use common::wire::request::{LinkRequest, TokenRequest};

use crate::asking::{OfHub, OfRepo};
use crate::duration;

#[derive(Subcommand)]
pub enum Member {
    /// List the members of a repository, and what they may do
    List(OfRepo),
    /// Make a user a member, or give a member another role
    Add(Add),
    /// Remove a member
    Remove(One),
}

#[derive(Subcommand)]
pub enum Link {
    /// List the links by which a repository can be cloned
    List(OfRepo),
    /// Make a link by which a private repository can be cloned without a token, as `muse clone` sends none
    Create(CreateLink),
    /// Revoke a link
    Revoke(Id),
}

#[derive(Subcommand)]
pub enum Token {
    /// List the tokens that one has minted
    List(OfHub),
    /// Mint a token that allows less than one's own
    Create(Box<CreateToken>),
    /// Revoke a token
    Revoke(OfToken),
}

#[derive(Args)]
pub struct Add {
    #[command(flatten)]
    of: OfRepo,
    /// The user's handle
    #[arg(value_name = "HANDLE")]
    handle: String,
    /// What the member may do
    #[arg(long, value_name = "read|write|admin", value_parser = ["read", "write", "admin"])]
    role: String,
}

#[derive(Args)]
pub struct One {
    #[command(flatten)]
    of: OfRepo,
    /// The member's handle
    #[arg(value_name = "HANDLE")]
    handle: String,
}

#[derive(Args)]
pub struct CreateLink {
    #[command(flatten)]
    of: OfRepo,
    /// How long it leads there, for example 12h or 7d
    #[arg(long, value_name = "TIME", value_parser = duration)]
    ttl: Option<std::time::Duration>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
}

#[derive(Args)]
pub struct Id {
    #[command(flatten)]
    of: OfRepo,
    /// The link's id, as the list has it
    #[arg(value_name = "ID")]
    id: String,
}

#[derive(Args)]
pub struct OfToken {
    #[command(flatten)]
    of: OfHub,
    /// The token's id, as the list has it
    #[arg(value_name = "ID")]
    id: String,
}

#[derive(Args)]
pub struct CreateToken {
    #[command(flatten)]
    of: OfHub,
    /// A repository that it is for; may be said several times; without it, all
    #[arg(long = "repo", value_name = "OWNER/SLUG")]
    repos: Vec<String>,
    /// The most that it allows
    #[arg(long, default_value = "read", value_name = "read|write|admin", value_parser = ["read", "write", "admin"])]
    access: String,
    /// A pattern of branches that it may push to, such as 'agent/*'; may be said several times; without it, all
    #[arg(long = "branch", value_name = "PATTERN")]
    branches: Vec<String>,
    /// Let it force a branch
    #[arg(long)]
    may_force: bool,
    /// Let it delete a branch
    #[arg(long)]
    may_delete: bool,
    /// How long it is good, for example 12h or 30d; no longer than the token that mints it
    #[arg(long, value_name = "TIME", value_parser = duration)]
    ttl: Option<std::time::Duration>,
    /// The agent that gets it
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
}

/// Runs `musehub member`.
pub async fn member(command: Member) -> Result<(), Box<dyn Error>> {
    match command {
        Member::List(of) => {
            let (_, answer) = of.ask(async |remote| Ok(remote.members().await?)).await?;
            let owner = [answer.owner.to_string(), "owner".to_owned(), String::new(), String::new()];
            let members = answer.members.iter().map(|member| {
                let handle = if member.handle.is_empty() { &member.user_id } else { &member.handle };
                let told = |field: &Option<std::borrow::Cow<'_, str>>| field.as_deref().unwrap_or_default().to_owned();
                [handle.to_string(), member.role.to_string(), told(&member.given_at), told(&member.given_by)]
            });
            of.printed.table(&answer, ["USER", "ROLE", "SINCE", "GIVEN BY"], std::iter::once(owner).chain(members))
        }
        Member::Add(Add { of, handle, role }) => {
            let (repo, answer) = of.ask(async |remote| Ok(remote.put_member(&handle, &role).await?)).await?;
            of.printed.print(&answer, || format!("{repo}: '{handle}' has the role '{role}'."))
        }
        Member::Remove(One { of, handle }) => {
            let (repo, answer) = of.ask(async |remote| Ok(remote.remove_member(&handle).await?)).await?;
            of.printed.print(&answer, || format!("{repo}: '{handle}' is no member any more."))
        }
    }
}

/// Runs `musehub link`.
pub async fn link(command: Link) -> Result<(), Box<dyn Error>> {
    match command {
        Link::List(of) => {
            let (_, answer) = of.ask(async |remote| Ok(remote.links().await?)).await?;
            let rows = answer.links.iter().map(|link| {
                [link.id.to_string(), link.expires_at.clone(), link.created_by.to_string(), link.name.to_string()]
            });
            of.printed.table(&answer, ["ID", "UNTIL", "MADE BY", "NAME"], rows)
        }
        Link::Create(CreateLink { of, ttl, name }) => {
            let ttl_seconds = ttl.map(|ttl| ttl.as_secs());
            let (_, answer) = of
                .ask(async |remote| {
                    let name = name.as_deref().map(Text::from);
                    Ok(remote.make_link(&LinkRequest { ttl_seconds, name }).await?)
                })
                .await?;
            of.printed.print(&answer, || answer.clone_url.clone().unwrap_or_default())
        }
        Link::Revoke(Id { of, id }) => {
            let (repo, answer) = of.ask(async |remote| Ok(remote.revoke_link(&id).await?)).await?;
            of.printed.print(&answer, || format!("{repo}: the link {id} leads nowhere any more."))
        }
    }
}

/// Runs `musehub token list`, `create` and `revoke`.
pub async fn token(command: Token) -> Result<(), Box<dyn Error>> {
    match command {
        Token::List(of) => {
            let answer = of.client()?.tokens().await?;
            let rows = answer.tokens.iter().map(|token| {
                let all = |list: Option<String>| list.unwrap_or_else(|| "all".to_owned());
                let what = token.agent_name.as_deref().unwrap_or(&token.name).to_owned();
                let repos = all(token.repos.as_ref().map(|repos| repos.join(", ")));
                let branches = all(token.branches.as_ref().map(|branches| branches.join(", ")));
                [token.id.to_string(), token.access.to_string(), repos, branches, token.expires_at.clone(), what]
            });
            of.printed.table(&answer, ["ID", "ACCESS", "REPOSITORIES", "BRANCHES", "UNTIL", "FOR"], rows)
        }
        Token::Create(arguments) => {
            let CreateToken { of, repos, access, branches, may_force, may_delete, ttl, agent, name } = *arguments;
            let list = |list: Vec<String>| match list.is_empty() {
                true => None,
                false => Some(list.into_iter().map(Text::from).collect::<Vec<_>>()),
            };
            let request = TokenRequest {
                name: name.map(Text::from),
                agent_name: agent.map(Text::from),
                repos: list(repos).map(Into::into),
                access: Some(access.into()),
                branches: list(branches).map(Into::into),
                may_force,
                may_delete,
                ttl_seconds: ttl.map(|ttl| ttl.as_secs()),
            };
            let answer = of.client()?.mint(&request).await?;
            of.printed.print(&answer, || answer.token.clone().unwrap_or_default())
        }
        Token::Revoke(OfToken { of, id }) => {
            let answer = of.client()?.revoke_token(&id).await?;
            of.printed.print(&answer, || format!("The token {id} is good no more."))
        }
    }
}
