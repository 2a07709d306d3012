//! What is known of a customer that periods may run from, as the policy wants it.

use crate::keyring::CustomerEntry;
use crate::policy::Facts;
use crate::window::Timestamp;

/// The facts of an entry; of two of one kind, the later.
pub fn facts(customer: &CustomerEntry) -> Facts {
    let latest = |kind: u8| -> Option<Timestamp> {
        customer.anchors.iter().filter(|anchor| anchor.kind == kind).map(|anchor| anchor.at).max()
    };
    Facts { relationship_ended: latest(1), last_contact: latest(2), request_closed: latest(3) }
}
