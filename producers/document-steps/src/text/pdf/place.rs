//! Where things stand on a page: affine maps as PDF writes them, `[a b c d e f]`.

/// An affine map: (x, y) → (ax + cy + e, bx + dy + f).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Map(pub(super) [f64; 6]);

impl Map {
    pub(super) const SAME: Self = Self([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);

    pub(super) fn shift(x: f64, y: f64) -> Self {
        Self([1.0, 0.0, 0.0, 1.0, x, y])
    }

    /// First this map, then the other.
    pub(super) fn then(self, other: Self) -> Self {
        let ([a, b, c, d, e, f], [p, q, r, s, t, u]) = (self.0, other.0);
        Self([a * p + b * r, a * q + b * s, c * p + d * r, c * q + d * s, e * p + f * r + t, e * q + f * s + u])
    }

    pub(super) fn origin(self) -> (f64, f64) {
        let [_, _, _, _, e, f] = self.0;
        (e, f)
    }

    /// Where the x axis points, and how long its unit is.
    pub(super) fn along(self) -> ((f64, f64), f64) {
        let [a, b, ..] = self.0;
        let length = a.hypot(b);
        if length > 0.0 { ((a / length, b / length), length) } else { ((1.0, 0.0), 0.0) }
    }

    /// How long the unit of the y axis is.
    pub(super) fn height(self) -> f64 {
        let [_, _, c, d, ..] = self.0;
        c.hypot(d)
    }
}
