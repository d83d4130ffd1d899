//! `user`: the people of the dashboard.

use std::process::ExitCode;

use clap::Subcommand;
use model::{Person, PersonId};
use serde_json::{Value, json};
use store::MetaStore;

use super::Context;
use crate::{
    output::{Align, Output},
    password::{self, Password},
    usage::usage,
    wiring,
};

/// Arguments of `user`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without --password-stdin the password is asked for; where there is no terminal, one is made and printed. Examples:\n  \
    simple-analytics user create --email ada@example.com --superuser\n  \
    pass show analytics | simple-analytics user set-password ada@example.com --password-stdin\n  \
    simple-analytics user delete ada@example.com --yes"
)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add a person
    #[command(after_help = "Example: simple-analytics user create --email ada@example.com --superuser")]
    Create {
        /// Sign-in name
        #[arg(long, value_parser = email)]
        email: String,
        /// May do everything in every project
        #[arg(long)]
        superuser: bool,
        #[command(flatten)]
        password: PasswordFlags,
    },
    /// List everybody
    #[command(after_help = "Example: simple-analytics user list --json")]
    List,
    /// Replace a password
    #[command(
        name = "set-password",
        alias = "set_password",
        after_help = "Example: simple-analytics user set-password ada@example.com --generate-password"
    )]
    SetPassword {
        /// E-mail or id
        person: String,
        #[command(flatten)]
        password: PasswordFlags,
    },
    /// Remove a person
    #[command(after_help = "Example: simple-analytics user delete ada@example.com --yes")]
    Delete {
        /// E-mail or id
        person: String,
        /// Yes, remove the account
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Clone, Copy, Debug, clap::Args)]
struct PasswordFlags {
    /// Read the password from the first line of standard input
    #[arg(long)]
    password_stdin: bool,
    /// Make a password and print it
    #[arg(long, conflicts_with = "password_stdin")]
    generate_password: bool,
}

impl PasswordFlags {
    fn obtain(self) -> anyhow::Result<Password> {
        if self.generate_password {
            Ok(password::generated())
        } else {
            password::obtain(self.password_stdin)
        }
    }
}

/// Checks a sign-in name: one `@` with something on both sides, no blanks, at most 254 characters (RFC 5321).
fn email(text: &str) -> Result<String, String> {
    let text = text.trim();
    let parts: Vec<&str> = text.split('@').collect();
    let well_formed = matches!(parts.as_slice(), [name, host] if !name.is_empty() && !host.is_empty())
        && text.chars().count() <= 254
        && !text
            .chars()
            .any(|character| character.is_whitespace() || character.is_control());
    if well_formed {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is no e-mail address"))
    }
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    if let Action::Delete { person, yes: false } = &args.action {
        return Err(usage(format!(
            "deleting the account {person} is for good; say so with --yes"
        )));
    }
    let store = wiring::open_meta_store(&context.settings).await?;
    let result = act(args.action, store.as_ref(), context).await;
    store.close().await;
    result
}

async fn act(action: Action, store: &dyn MetaStore, context: &Context) -> anyhow::Result<ExitCode> {
    let output = context.output;
    match action {
        Action::Create {
            email,
            superuser,
            password,
        } => {
            let password = password.obtain()?;
            let now = context.clock.now();
            let person = Person {
                id: PersonId::generate(now),
                email,
                is_superuser: superuser,
                password_hash: password::hash(&password.text)?,
                created_at: now,
            };
            store.create_person(&person).await?;
            answer(output, &person, &password, "Added")?;
        }
        Action::List => {
            let people = store.people().await?;
            output.answer(&people, || list(&people, output))?;
        }
        Action::SetPassword { person, password } => {
            let person = find(store, &person).await?;
            let password = password.obtain()?;
            store
                .set_password_hash(person.id, &password::hash(&password.text)?)
                .await?;
            answer(output, &person, &password, "Changed the password of")?;
        }
        Action::Delete { person, .. } => {
            let person = find(store, &person).await?;
            store.delete_person(person.id).await?;
            output.answer(&person, || format!("Deleted {} ({}).", person.email, person.id))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The person with this e-mail (without regard to case) or id.
async fn find(store: &dyn MetaStore, text: &str) -> anyhow::Result<Person> {
    let matches = |person: &Person| person.email.to_lowercase() == text.to_lowercase() || person.id.to_string() == text;
    let people = store.people().await?;
    people
        .into_iter()
        .find(matches)
        .ok_or_else(|| anyhow::anyhow!("there is nobody called {text}; `simple-analytics user list` shows everybody"))
}

/// Tells what happened, and a generated password, once.
fn answer(output: Output, person: &Person, password: &Password, done: &str) -> anyhow::Result<()> {
    let mut document = serde_json::to_value(person)?;
    if let (true, Value::Object(fields)) = (password.generated, &mut document) {
        fields.insert("password".to_owned(), json!(password.text));
    }
    output.answer(&document, || {
        let mut text = format!("{done} {} ({}).\n", person.email, person.id);
        if password.generated {
            text.push_str(&format!("Password, shown only now: {}\n", password.text));
        }
        text
    })?;
    Ok(())
}

fn list(people: &[Person], output: Output) -> String {
    let head = [
        ("id", Align::Left),
        ("e-mail", Align::Left),
        ("superuser", Align::Left),
        ("created", Align::Left),
    ];
    let rows: Vec<Vec<String>> = people
        .iter()
        .map(|person| {
            vec![
                person.id.to_string(),
                person.email.clone(),
                if person.is_superuser { "yes" } else { "no" }.to_owned(),
                person.created_at.to_string(),
            ]
        })
        .collect();
    output.table(&head, &rows)
}
