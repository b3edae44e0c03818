//! The API server by itself, as full as it is then: leases are created and replaced at the pace of ADDs and DELs, and nobody else
//! asks for anything. What an ADD takes beyond it is Tenure's.

use std::sync::Arc;
use std::time::Duration;

use kube::api::{DynamicObject, PostParams};
use kube::{Api, Client};
use parking_lot::Mutex;
use tenure_lab::cluster::resource;
use tokio::time::Instant;

use super::pace::{self, Outcome};
use crate::cluster::floor::{addresses, at, released};

/// How long.
const LASTS: Duration = Duration::from_secs(30);
/// A lease is replaced so long after its creation.
const HELD: Duration = Duration::from_secs(2);

/// What came of creates and of replaces.
pub(crate) async fn measure(
    client: &Client,
    template: &DynamicObject,
    rate: usize,
) -> (Outcome, Outcome) {
    let leases = Api::<DynamicObject>::all_with(client.clone(), &resource("IPLease"));
    let apart = Duration::from_secs(1) / rate as u32;
    let count = rate * LASTS.as_secs() as usize;
    let made = Arc::new(Mutex::new(vec![None; count]));
    let objects = addresses(count, false).into_iter().map(|address| at(template, address));
    let creates = objects.enumerate().map(|(number, object)| {
        let (leases, made) = (leases.clone(), made.clone());
        async move {
            let answer = leases.create(&PostParams::default(), &object).await;
            made.lock()[number] = Some(answer.map_err(|error| error.to_string())?);
            Ok(())
        }
    });
    let replaces = (0..count).map(|number| {
        let (leases, made) = (leases.clone(), made.clone());
        async move {
            let object = made.lock()[number].take().ok_or("its create was not answered in time")?;
            let (name, object) =
                (object.metadata.name.clone().unwrap_or_default(), released(object));
            let answer = leases.replace(&name, &PostParams::default(), &object).await;
            answer.map(drop).map_err(|error| error.to_string())
        }
    });
    let begin = Instant::now() + apart;
    tokio::join!(
        pace::stream(begin, apart, creates),
        pace::stream(begin + HELD + apart / 2, apart, replaces)
    )
}
