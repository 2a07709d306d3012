//! Categorisation: records that came without a class get one from the rules of the policy, else from the classifier of
//! whoever embeds the store. What neither gives one stays without, and admission refuses it: nothing is guessed.

use crate::engine::Engine;
use crate::ident::Stream;
use crate::policy::Policy;
use crate::record::{BodyKind, Classifier, Record};

/// Gives a class to those of `records` that have none. Called while nothing is held: a classifier may take its time.
pub fn classify(engine: &Engine, records: &mut [Record], classifier: Option<&dyn Classifier>) {
    if records.iter().all(|record| record.stream.is_classed()) {
        return;
    }
    let policy = engine.policy();
    for record in records.iter_mut().filter(|record| !record.stream.is_classed()) {
        let class = by_rule(&policy, record).map(str::to_owned);
        give(record, class);
        by_classifier(record, classifier);
    }
}

/// The same without the rules: of a record whose body is to come there is nothing that they could look into.
pub fn by_classifier(record: &mut Record, classifier: Option<&dyn Classifier>) {
    if !record.stream.is_classed() {
        let class = classifier.and_then(|classifier| classifier.class(record));
        give(record, class);
    }
}

fn give(record: &mut Record, class: Option<String>) {
    if let Some(Ok(stream)) = class.map(|class| Stream::new(&class, record.stream.jurisdiction())) {
        record.stream = stream;
    }
}

fn by_rule<'a>(policy: &'a Policy, record: &Record) -> Option<&'a str> {
    match record.kind {
        BodyKind::Json => policy.class_of_json(&record.body),
        BodyKind::Text => policy.class_of_text(&record.body),
        BodyKind::Bytes => None,
    }
}
