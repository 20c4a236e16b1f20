//! Zipf's law: rank `k` of `n` is drawn in proportion to `k^-s`.

/// Draws ranks in constant time by Vose's alias method.
#[derive(Debug, Clone)]
pub(crate) struct Zipf {
    /// By column: the share of it, out of 2^32, that is its own rank's, and the rank that the rest belongs to.
    columns: Vec<(u32, u32)>,
}

impl Zipf {
    /// Over `ranks` ranks, at least 1, with exponent `s`.
    pub(crate) fn new(ranks: u32, s: f64) -> Self {
        let weights: Vec<f64> = (1..=ranks).map(|rank| f64::from(rank).powf(-s)).collect();
        let mean = weights.iter().sum::<f64>() / f64::from(ranks);
        let shares = (0..ranks).zip(weights.iter().map(|weight| weight / mean));
        let (mut small, mut large): (Vec<_>, Vec<_>) = shares.partition(|(_, share)| *share < 1.0);
        let mut columns: Vec<(u32, u32)> = (0..ranks).map(|rank| (u32::MAX, rank)).collect();
        while let (Some((rank, share)), Some((donor, left))) = (small.pop(), large.last_mut()) {
            if let Some(column) = columns.get_mut(rank as usize) {
                *column = ((share * f64::from(u32::MAX)) as u32, *donor);
            }
            *left -= 1.0 - share;
            if *left < 1.0 {
                small.extend(large.pop());
            }
        }
        Self { columns }
    }

    /// The rank, from 0, that 64 random bits stand for.
    #[inline]
    pub(crate) fn draw(&self, bits: u64) -> u32 {
        let column = ((bits >> 32) * self.columns.len() as u64) >> 32;
        match self.columns.get(column as usize) {
            Some(&(own, other)) if bits as u32 > own => other,
            _ => column as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_come_by_the_law() {
        let zipf = Zipf::new(100, 1.1);
        let mut counts = [0u32; 100];
        let mut state = 7;
        for _ in 0..200_000 {
            counts[zipf.draw(crate::workload::random(&mut state)) as usize] += 1;
        }
        let total: f64 = (1..=100).map(|rank| f64::from(rank).powf(-1.1)).sum();
        for rank in [1u32, 2, 10, 100] {
            let want = 200_000.0 * f64::from(rank).powf(-1.1) / total;
            let got = f64::from(counts[rank as usize - 1]);
            assert!((got / want - 1.0).abs() < 0.15, "rank {rank}: {got} drawn, {want} expected");
        }
    }
}
