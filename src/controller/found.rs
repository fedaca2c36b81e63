//! Answers the questions of a plan: what IO finds out about a policy.

use super::connections::Connected;
use super::context::{Context, PolicyRef};
use super::error::Error;
use super::observe::Observed;
use dlq_policy::{ConnectionRef, Connectivity, Facts, Policy, Question};

/// What was found out, and the account if somebody had to look.
pub(crate) struct Found {
    pub(crate) facts: Facts,
    pub(crate) connected: Option<Connected>,
}

impl Found {
    /// What is known without any request.
    pub(crate) fn before_any_question(context: &Context, reference: &PolicyRef, policy: &Policy) -> Self {
        let connection = policy.work.as_ref().ok().map(|work| &work.connection);
        let facts = Facts {
            connection: None,
            clock_offset: connection.map(|it| context.connections.clock_offset(it)).unwrap_or_default(),
            holds_run: context.memory.has_session(reference),
        };
        Self { facts, connected: None }
    }

    /// Finds out what the plan depends on.
    pub(crate) async fn answer(
        &mut self,
        question: Question,
        context: &Context,
        reference: &PolicyRef,
        policy: &Policy,
        observed: &Observed,
    ) -> Result<(), Error> {
        let Question::Connection { fresh } = question;
        let Ok(work) = &policy.work else { return Ok(()) };
        let namespace = reference.namespace.as_deref().unwrap_or_default();
        if let ConnectionRef::Secret { secret, .. } = &work.connection
            && context.watch_secrets
        {
            // Before the look: what comes after it is then not missed.
            context.memory.await_secret(reference.clone(), secret.name.to_string());
        }
        let recent = context.connections.recent(namespace, &work.connection).filter(|_| !fresh);
        let found = match recent {
            Some(found) => Ok(found),
            None => context.connections.look(namespace, &work.connection).await.map(|found| {
                found.map(|account| {
                    let secret = account.secret.clone();
                    self.connected = Some(account);
                    secret
                })
            }),
        };
        // Where the next run could not start, the one under way keeps its token.
        let keeps_token = self.facts.keeps_token(&observed.status);
        self.facts.connection = Some(match found {
            Err(_) | Ok(Err(_)) if keeps_token => Connectivity::Lost,
            found => match found? {
                Err(missing) => Connectivity::Missing(missing),
                Ok(secret) if observed.status.refused_secret.as_ref() == Some(&secret) => {
                    Connectivity::Refused
                }
                Ok(_) => {
                    context.memory.await_no_secret(reference);
                    Connectivity::Usable
                }
            },
        });
        Ok(())
    }
}
