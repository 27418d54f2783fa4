//! Making the topics what they should be, as far as that loses nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::RDKafkaErrorCode as Code;

use crate::cluster::{ask, n_partitions};
use crate::error::KafkaError;
use crate::events::Events;
use crate::settings::Settings;

const REQUEST: Duration = Duration::from_secs(15);

/// A topic as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    pub name: String,
    pub partitions: i32,
    pub replication: i32,
    /// The topic's own configuration, for example `cleanup.policy`.
    pub config: BTreeMap<String, String>,
}

/// What became of one [`TopicSpec`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    pub topic: String,
    pub change: Change,
    /// What is not as it should be and was left so: an operator may have had reasons.
    pub differs: Vec<Difference>,
}

/// What was done to a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Created,
    Unchanged,
    PartitionsRaised { from: i32, to: i32 },
}

/// A trait of a topic that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// `partitions`, `replication`, or the name of a configuration entry.
    pub what: String,
    pub wanted: String,
    pub found: String,
}

/// A topic as it is.
struct Found {
    partitions: i32,
    replication: i32,
}

/// Creates what is missing and raises numbers of partitions; tells every other difference and changes it not.
pub async fn apply_topics(settings: &Settings, specs: &[TopicSpec]) -> Result<Vec<Applied>, KafkaError> {
    // Asked first, because only this question tells a refused password from a slow broker.
    let found = look(settings, specs).await?;
    let admin = AdminClient::from_config_and_context(&settings.producer()?, Events::new(settings))
        .map_err(|error| KafkaError::from_native(&error, "starting an admin client", None))?;
    let options = AdminOptions::new().request_timeout(Some(REQUEST)).operation_timeout(Some(REQUEST));
    let admin = Admin { client: admin, options };

    let mut all = Vec::with_capacity(specs.len());
    for (spec, found) in specs.iter().zip(found) {
        let applied = match found {
            None => admin.create(spec).await?,
            Some(found) => admin.adjust(spec, &found).await?,
        };
        all.push(applied);
    }
    Ok(all)
}

async fn look(settings: &Settings, specs: &[TopicSpec]) -> Result<Vec<Option<Found>>, KafkaError> {
    let names: Vec<String> = specs.iter().map(|spec| spec.name.clone()).collect();
    ask(settings, move |question| {
        names
            .iter()
            .map(|name| {
                let metadata = question.metadata(name)?;
                let topic = metadata.topics().iter().find(|topic| topic.name() == name);
                let replicas = topic.and_then(|t| t.partitions().first()).map_or(0, |p| p.replicas().len());
                let replication = i32::try_from(replicas).unwrap_or(i32::MAX);
                Ok(n_partitions(&metadata, name).map(|partitions| Found { partitions, replication }))
            })
            .collect()
    })
    .await
}

struct Admin {
    client: AdminClient<Events>,
    options: AdminOptions,
}

impl Admin {
    async fn create(&self, spec: &TopicSpec) -> Result<Applied, KafkaError> {
        let doing = format!("creating topic {}", spec.name);
        let mut topic = NewTopic::new(&spec.name, spec.partitions, TopicReplication::Fixed(spec.replication));
        for (name, value) in &spec.config {
            topic = topic.set(name, value);
        }
        let answers = self.client.create_topics([&topic], &self.options).await;
        let answers = answers.map_err(|error| KafkaError::from_native(&error, &doing, None))?;
        let change = match answers.into_iter().next() {
            // Somebody else, who starts at the same time, was faster; the next `apply` compares.
            Some(Err((_, Code::TopicAlreadyExists))) => Change::Unchanged,
            Some(Err((_, code))) => return Err(KafkaError::from_code(code, &doing, None)),
            Some(Ok(_)) | None => Change::Created,
        };
        Ok(Applied { topic: spec.name.clone(), change, differs: Vec::new() })
    }

    async fn adjust(&self, spec: &TopicSpec, found: &Found) -> Result<Applied, KafkaError> {
        let mut differs = Vec::new();
        let mut tell = |what: &str, wanted: String, found: String| {
            if wanted != found {
                differs.push(Difference { what: what.to_owned(), wanted, found });
            }
        };
        let change = if spec.partitions > found.partitions {
            self.raise_partitions(spec).await?;
            Change::PartitionsRaised { from: found.partitions, to: spec.partitions }
        } else {
            tell("partitions", spec.partitions.to_string(), found.partitions.to_string());
            Change::Unchanged
        };
        tell("replication", spec.replication.to_string(), found.replication.to_string());
        if !spec.config.is_empty() {
            let config = self.config(&spec.name).await?;
            for (name, wanted) in &spec.config {
                let found = config.get(name).cloned().unwrap_or_else(|| "(no such entry)".to_owned());
                tell(name, wanted.clone(), found);
            }
        }
        Ok(Applied { topic: spec.name.clone(), change, differs })
    }

    async fn raise_partitions(&self, spec: &TopicSpec) -> Result<(), KafkaError> {
        let doing = format!("raising the partitions of topic {}", spec.name);
        let count = usize::try_from(spec.partitions).unwrap_or_default();
        let raise = NewPartitions::new(&spec.name, count);
        let answers = self.client.create_partitions([&raise], &self.options).await;
        let answers = answers.map_err(|error| KafkaError::from_native(&error, &doing, None))?;
        match answers.into_iter().next() {
            Some(Err((_, code))) => Err(KafkaError::from_code(code, &doing, Some(&spec.name))),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    async fn config(&self, topic: &str) -> Result<BTreeMap<String, String>, KafkaError> {
        let doing = format!("reading the configuration of topic {topic}");
        let answers = self.client.describe_configs([&ResourceSpecifier::Topic(topic)], &self.options).await;
        let answers = answers.map_err(|error| KafkaError::from_native(&error, &doing, None))?;
        match answers.into_iter().next() {
            Some(Ok(resource)) => {
                Ok(resource.entries.into_iter().filter_map(|e| Some((e.name, e.value?))).collect())
            }
            Some(Err(code)) => Err(KafkaError::from_code(code, &doing, Some(topic))),
            None => Ok(BTreeMap::new()),
        }
    }
}
