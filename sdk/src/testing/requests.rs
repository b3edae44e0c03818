//! Requests, piece by piece, and a policy from the settings that an operator writes.

use std::net::IpAddr;

use crate::{
    AffinityRequest, Candidate, Family, FieldError, Holder, Lease, Policy, Pressure, Previous,
    ReclaimRequest, SelectRequest, parse_settings,
};

/// Makes a [`SelectRequest`]; it wants IPv4 unless told otherwise.
#[derive(Debug, Clone)]
pub struct SelectRequestBuilder(SelectRequest);

/// Makes an [`AffinityRequest`]; it wants IPv4 unless told otherwise.
#[derive(Debug, Clone)]
pub struct AffinityRequestBuilder(AffinityRequest);

/// Makes a [`ReclaimRequest`].
#[derive(Debug, Clone, Default)]
pub struct ReclaimRequestBuilder {
    leases: Vec<Lease>,
    pressure: Vec<Pressure>,
    now_ms: u64,
    seed: u64,
}

/// A policy with settings in JSON, checked as the host checks them, but for the schema.
///
/// # Errors
/// What the settings' type or [`Policy::new`] says of them.
pub fn policy<P: Policy>(settings: &str) -> Result<P, Vec<FieldError>> {
    P::new(parse_settings(settings)?)
}

/// A candidate of that pool with so many free addresses, all else empty.
#[must_use]
pub fn candidate(pool: u32, free: u64) -> Candidate {
    Candidate { pool, free, ..Candidate::default() }
}

// === impl SelectRequestBuilder ===

impl SelectRequest {
    /// A request of nobody for an IPv4 address.
    #[must_use]
    pub fn builder() -> SelectRequestBuilder {
        SelectRequestBuilder(Self {
            holder: Holder::builder().build(),
            families: bits(&[Family::V4]),
            now_ms: 0,
            seed: 0,
        })
    }
}

impl SelectRequestBuilder {
    /// Who asks.
    #[must_use]
    pub fn holder(mut self, holder: impl Into<Holder>) -> Self {
        self.0.holder = holder.into();
        self
    }

    /// The families that are wanted.
    #[must_use]
    pub fn families(mut self, families: &[Family]) -> Self {
        self.0.families = bits(families);
        self
    }

    /// The request's random number.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.0.seed = seed;
        self
    }

    /// Wall time in milliseconds since 1970.
    #[must_use]
    pub fn now_ms(mut self, now_ms: u64) -> Self {
        self.0.now_ms = now_ms;
        self
    }

    /// The request.
    #[must_use]
    pub fn build(self) -> SelectRequest {
        self.0
    }
}

// === impl AffinityRequestBuilder ===

impl AffinityRequest {
    /// A request of nobody for an IPv4 address.
    #[must_use]
    pub fn builder() -> AffinityRequestBuilder {
        let SelectRequest { holder, families, now_ms, seed } = SelectRequest::builder().build();
        AffinityRequestBuilder(Self { holder, families, previous: Vec::new(), now_ms, seed })
    }
}

impl AffinityRequestBuilder {
    /// Who asks.
    #[must_use]
    pub fn holder(mut self, holder: impl Into<Holder>) -> Self {
        self.0.holder = holder.into();
        self
    }

    /// The families that are wanted.
    #[must_use]
    pub fn families(mut self, families: &[Family]) -> Self {
        self.0.families = bits(families);
        self
    }

    /// An address that the same namespace and name held until so many seconds ago.
    #[must_use]
    pub fn previous(self, address: IpAddr, since_release_s: u32) -> Self {
        const SAME_NAME: u32 = 0b10;
        let address = address.into();
        self.row(Previous { address, pool: 0, held_s: 60, since_release_s, bits: SAME_NAME })
    }

    /// A row of `previous`, whole.
    #[must_use]
    pub fn row(mut self, previous: Previous) -> Self {
        self.0.previous.push(previous);
        self
    }

    /// The request.
    #[must_use]
    pub fn build(self) -> AffinityRequest {
        self.0
    }
}

// === impl ReclaimRequestBuilder ===

impl ReclaimRequest {
    /// A request without leases.
    #[must_use]
    pub fn builder() -> ReclaimRequestBuilder {
        ReclaimRequestBuilder::default()
    }
}

impl ReclaimRequestBuilder {
    /// One more lease; its row is its position.
    #[must_use]
    pub fn lease(mut self, lease: Lease) -> Self {
        let row = u32::try_from(self.leases.len()).unwrap_or(u32::MAX);
        self.leases.push(Lease { row, ..lease });
        self
    }

    /// One more lease, and what [`crate::lease_holder`] says of it.
    #[must_use]
    pub fn held(self, lease: Lease, holder: impl Into<Holder>) -> Self {
        let row = u32::try_from(self.leases.len()).unwrap_or(u32::MAX);
        super::set_lease_holder(row, holder.into());
        self.lease(lease)
    }

    /// How hard a pool is pressed.
    #[must_use]
    pub fn pressure(mut self, pool: u32, free: u64, size: u64, waiting: u32) -> Self {
        self.pressure.push(Pressure { pool, free, size, waiting });
        self
    }

    /// The request's random number.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Wall time in milliseconds since 1970.
    #[must_use]
    pub fn now_ms(mut self, now_ms: u64) -> Self {
        self.now_ms = now_ms;
        self
    }

    /// The request.
    #[must_use]
    pub fn build(self) -> ReclaimRequest {
        ReclaimRequest::of(&self.leases, &self.pressure).at(self.now_ms, self.seed)
    }
}

/// Bit 0 is IPv4.
pub(super) fn bits(families: &[Family]) -> u32 {
    let bit = |family: &Family| match family {
        Family::V4 => 0b01,
        Family::V6 => 0b10,
    };
    families.iter().map(bit).fold(0, |bits, bit| bits | bit)
}
