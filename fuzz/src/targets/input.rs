//! The bytes of a run, taken from the front. Behind their end there are zeroes, so that every input means something.

/// What is left of them.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.bytes(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    pub fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub fn word(&mut self) -> u32 {
        u32::from_be_bytes(self.array())
    }

    /// A length that is mostly small, at most `most`.
    pub fn len(&mut self, most: usize) -> usize {
        let n = match self.byte() {
            n @ ..200 => usize::from(n),
            n @ 200..250 => usize::from(n - 199) * 512,
            _ => self.word() as usize,
        };
        n.min(most)
    }

    /// One of `choices`.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }
}
