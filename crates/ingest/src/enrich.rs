//! What the worker fills in (contract, "Filled in by the worker"; `query-api.md`, derived keys).
//!
//! Everything here is a function of the accepted event and of the two files given at start, so that every node and every
//! replay fills in the same. One rule for each file being away: its keys stay empty.

mod agent;
mod country;
mod identity;
mod page;
mod properties;

use model::{AcceptedEvent, DerivedKeys, EnrichedEvent};

use agent::Agents;
use country::Countries;

/// Fills in accepted events. Shared by all workers.
pub struct Enricher {
    agents: Agents,
    countries: Countries,
}

/// Why the files could not be used.
#[derive(Debug, thiserror::Error)]
pub enum EnricherError {
    /// The user-agent rules.
    #[error("the user-agent rules are not in the format of uap-core's regexes.yaml: {0}")]
    AgentRules(#[from] serde_yaml_ng::Error),
    /// The table of countries.
    #[error("the address table is not a MaxMind database of countries: {0}")]
    Countries(#[from] maxminddb::MaxMindDbError),
}

impl Enricher {
    /// Takes the contents of `user-agents.yaml` (uap-core's rules) and of `countries.mmdb` (MaxMind format, with
    /// `country_code` or `country.iso_code`).
    ///
    /// The rules are checked here but compiled by the first event that has a user agent: that takes about 0.15 s and 26 MB,
    /// which an idle process does not need. [`Enricher::warm_up`] does it at a better moment.
    pub fn new(agent_rules_yaml: Option<&[u8]>, countries_mmdb: Option<Vec<u8>>) -> Result<Self, EnricherError> {
        Ok(Self {
            agents: Agents::new(agent_rules_yaml)?,
            countries: Countries::new(countries_mmdb)?,
        })
    }

    /// Compiles the user-agent rules now, if that has not happened. Takes about 0.15 s of one core.
    pub fn warm_up(&self) {
        self.agents.warm_up();
    }

    /// Fills in an event. The same event gives the same result always; nothing that the client sent is changed.
    pub fn enrich(&self, event: AcceptedEvent) -> EnrichedEvent {
        let mut derived = page::derived_keys(&event.properties);
        self.fill_agent(&event, &mut derived);
        derived.country = event.ip_address.and_then(|address| self.countries.country(address));
        let user_id = identity::user_id(&event);
        let session_id = identity::session_id(&event, &user_id);
        EnrichedEvent {
            id: event.id,
            project_id: event.project_id,
            client_event_id: event.client_event_id,
            event_name: event.event_name,
            event_source: event.event_source,
            user_id,
            session_id,
            properties: event.properties,
            timestamp: event.timestamp,
            received_at: event.received_at,
            ip_address: event.ip_address.map(|address| address.to_string()),
            user_agent: event.user_agent,
            derived,
            deduplication: event.deduplication,
        }
    }

    fn fill_agent(&self, event: &AcceptedEvent, derived: &mut DerivedKeys) {
        let Some(agent) = event.user_agent.as_deref().and_then(|text| self.agents.parse(text)) else {
            return;
        };
        derived.browser.clone_from(&agent.browser);
        derived.browser_version.clone_from(&agent.browser_version);
        derived.os.clone_from(&agent.os);
        derived.device.clone_from(&agent.device);
    }
}

#[cfg(test)]
mod tests;
