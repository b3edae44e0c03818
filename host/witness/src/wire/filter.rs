//! Which frames the kernel hands to a packet socket: a classic BPF program (`bpf(4)`, `socket(7)`).
//!
//! The rest of a busy network would fill the socket's buffer and cost a system call a frame.

use libc::sock_filter;

/// A length that no frame reaches: taken whole.
const WHOLE: u32 = 0x0004_0000;

/// Lines of a program in the making. Each condition ends the program by itself, so that nothing has to jump.
#[derive(Debug)]
pub(super) struct Filter(Vec<sock_filter>);

// === impl Filter ===

impl Filter {
    /// Refuses what is for another machine or another VLAN (`PACKET_OTHERHOST`), and what we sent.
    pub(super) fn for_us() -> Self {
        // Negative offsets mean what the kernel knows of a frame.
        let packet_type = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE).cast_unsigned();
        let load = line(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, packet_type, 0, 0);
        let other = libc::PACKET_MULTICAST.into();
        let mut program = Self(vec![load]);
        program.0.push(line(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, other, 0, 1));
        program.end(false);
        program
    }

    /// Refuses frames whose byte at `offset` is another.
    pub(super) fn byte(mut self, offset: u32, value: u8) -> Self {
        self.0.push(line(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, offset, 0, 0));
        self.0.push(line(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value.into(), 1, 0));
        self.end(false);
        self
    }

    /// Takes frames whose word at `offset` is one of these.
    pub(super) fn take(mut self, offset: u32, words: impl IntoIterator<Item = u32>) -> Self {
        self.0.push(line(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0));
        for word in words {
            self.0.push(line(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, word, 0, 1));
            self.end(true);
        }
        self
    }

    /// Refuses frames whose word at `offset` is another.
    pub(super) fn word(mut self, offset: u32, value: u32) -> Self {
        self.0.push(line(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0));
        self.0.push(line(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, 1, 0));
        self.end(false);
        self
    }

    /// Refuses everything else.
    pub(super) fn program(mut self) -> Vec<sock_filter> {
        self.end(false);
        self.0
    }

    fn end(&mut self, take: bool) {
        let length = if take { WHOLE } else { 0 };
        self.0.push(line(libc::BPF_RET | libc::BPF_K, length, 0, 0));
    }
}

fn line(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    // The codes are defined wider than the field that takes them.
    sock_filter { code: u16::try_from(code).unwrap_or_default(), jt, jf, k }
}
