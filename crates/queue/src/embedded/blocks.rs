//! A buffer of whole blocks, at an address from which the device can read by itself (`files`: written directly).

/// What devices and file systems take at once: 512 bytes or 4 KiB.
pub(super) const BLOCK_BYTES: usize = 4096;

/// See the module.
#[derive(Default)]
pub(super) struct Blocks {
    bytes: Vec<u8>,
    /// Where the address is a multiple of a block.
    start: usize,
}

impl Blocks {
    /// Empties it and makes room for `bytes` and their padding.
    pub(super) fn begin(&mut self, bytes: usize) {
        self.bytes.clear();
        self.bytes.reserve(bytes + 2 * BLOCK_BYTES);
        self.start = self.bytes.as_ptr().align_offset(BLOCK_BYTES).min(BLOCK_BYTES);
        self.bytes.resize(self.start, 0);
    }

    /// Adds bytes.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Adds `zeros`, and as many more as make it whole blocks.
    pub(super) fn pad(&mut self, zeros: usize) {
        let whole = (self.bytes().len() + zeros).next_multiple_of(BLOCK_BYTES);
        self.bytes.resize(self.start + whole, 0);
    }

    /// What is in it.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// The same, to be changed.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }

    /// Empties it and gives memory back beyond `bytes`.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        self.bytes.clear();
        self.bytes.shrink_to(bytes);
        self.start = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_whole_blocks_at_the_address_of_a_block() {
        let mut blocks = Blocks::default();
        for bytes in [0, 1, 4095, 4096, 4097, 100_000] {
            blocks.begin(bytes + 10_000);
            blocks.extend(&vec![7; bytes]);
            blocks.pad(10_000);
            let filled = blocks.bytes();
            assert_eq!(filled.as_ptr().align_offset(BLOCK_BYTES), 0, "{bytes}");
            assert_eq!(filled.len(), (bytes + 10_000).next_multiple_of(BLOCK_BYTES));
            assert!(filled[..bytes].iter().all(|byte| *byte == 7));
            assert!(filled[bytes..].iter().all(|byte| *byte == 0));
        }
        blocks.shrink_to(0);
        assert!(blocks.bytes().is_empty());
    }
}
