//! Rtnetlink messages as bytes.

use netlink_packet_core::{NLMSG_ALIGNTO, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;

use crate::netlink::{RouteError, failure};

const ALIGN: usize = NLMSG_ALIGNTO as usize;

pub(crate) type Message = NetlinkMessage<RouteNetlinkMessage>;

/// One message, which ends where the next one may begin.
pub(crate) fn encoded(question: RouteNetlinkMessage, flags: u16, sequence: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(question));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len().next_multiple_of(ALIGN)];
    message.serialize(&mut bytes);
    bytes
}

/// The messages of one datagram.
pub(crate) fn messages_of(mut datagram: &[u8]) -> Result<Vec<Message>, RouteError> {
    let mut messages = Vec::new();
    while !datagram.is_empty() {
        let message = Message::deserialize(datagram)
            .map_err(|why| failure("decoding an answer of rtnetlink", why))?;
        let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
        messages.push(message);
        datagram = datagram.get(length.max(1).next_multiple_of(ALIGN)..).unwrap_or_default();
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_that_is_cut_inside_a_message_is_an_error_and_never_a_shorter_listing() {
        let mut message = NetlinkMessage::from(RouteNetlinkMessage::GetNsId(Default::default()));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        let twice = [bytes.clone(), bytes.clone()].concat();
        assert_eq!(messages_of(&twice).unwrap().len(), 2);
        for cut in 1..bytes.len() {
            assert!(messages_of(&twice[..bytes.len() + cut]).is_err(), "cut at {cut}");
        }
    }
}
