//! Coordinates as latitude and longitude in degrees (WGS 84 is assumed), north and east positive, rounded to 6 decimals (11 cm): decimal
//! (`52.5200, 13.4050`; `52.52° N, 13.405° E`) and in degrees, minutes and seconds (`52°31′12″N 13°24′18″E`).

use regex::Captures;

use super::{FOUND_MAX, Fact, are_digits, has, in_order, pattern, stands_alone};
use crate::fault::Fault;

/// Two bare numbers are coordinates only with that many decimals: else any two numbers would be.
const BARE: &str = r"([+-−]?[0-9]{1,3}\.[0-9]{3,10})\s?[,;]\s?([+-−]?[0-9]{1,3}\.[0-9]{3,10})";
/// Degrees; minutes and seconds may be missing; then where.
const ANGLE: &str = r#"([0-9]{1,3}(?:[.,][0-9]{1,10})?)\s?°\s?(?:([0-9]{1,2}(?:[.,][0-9]{1,8})?)\s?[′'’]\s?)?(?:([0-9]{1,2}(?:[.,][0-9]{1,6})?)\s?(?:[″"”]|'')\s?)?"#;

pub(super) fn find(text: &str) -> Result<Vec<Fact>, Fault> {
    let mut facts = Vec::new();
    if has(text, |four: &[u8; 4]| matches!(four, [b'.', digits @ ..] if are_digits(digits))) {
        let bare = pattern(&BARE.replace("+-−", "+−-"))?;
        facts.extend(bare.captures_iter(text).filter_map(|found| decimal(text, &found)).take(FOUND_MAX + 1));
    }
    if text.contains('°') {
        let angles = pattern(&format!(r"{ANGLE}([NS])[\s,;/]{{0,3}}{ANGLE}([EWO])\b"))?;
        facts.extend(angles.captures_iter(text).filter_map(|found| degrees(&found)).take(FOUND_MAX + 1));
    }
    Ok(in_order(facts))
}

fn decimal(text: &str, found: &Captures<'_>) -> Option<Fact> {
    let at = found.get(0)?.range();
    let [latitude, longitude] = [1, 2].map(|group| number(found.get(group)?.as_str()));
    fact(at.clone(), latitude?, longitude?).filter(|_| stands_alone(text, &at))
}

fn degrees(found: &Captures<'_>) -> Option<Fact> {
    let latitude = angle(found, 1)?;
    let longitude = angle(found, 5)?;
    let south = found.get(4)?.as_str() == "S";
    // O is east in German (Ost) and west in French and Spanish: not told.
    let west = match found.get(8)?.as_str() {
        "E" => false,
        "W" => true,
        _ => return None,
    };
    fact(found.get(0)?.range(), if south { -latitude } else { latitude }, if west { -longitude } else { longitude })
}

fn angle(found: &Captures<'_>, first: usize) -> Option<f64> {
    let part = |group| found.get(group).map_or(Some(0.0), |part| number(part.as_str()));
    let (degrees, minutes, seconds) = (part(first)?, part(first + 1)?, part(first + 2)?);
    (minutes < 60.0 && seconds < 60.0).then_some(degrees + minutes / 60.0 + seconds / 3600.0)
}

fn fact(at: std::ops::Range<usize>, latitude: f64, longitude: f64) -> Option<Fact> {
    let fits = latitude.abs() <= 90.0 && longitude.abs() <= 180.0;
    let fields = || vec![("latitude", rounded(latitude).into()), ("longitude", rounded(longitude).into())];
    fits.then(|| Fact { at, fields: fields() })
}

fn rounded(degrees: f64) -> f64 {
    // No minus zero.
    (degrees * 1e6).round() / 1e6 + 0.0
}

fn number(number: &str) -> Option<f64> {
    number.replace(',', ".").replace('−', "-").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::find;

    #[track_caller]
    fn gives(text: &str, expected: &[(f64, f64)]) {
        let facts = find(text).unwrap();
        let places: Vec<_> =
            facts.iter().map(|fact| (fact.fields[0].1.as_f64().unwrap(), fact.fields[1].1.as_f64().unwrap())).collect();
        assert_eq!(places, expected, "{text}");
    }

    #[test]
    fn decimal_and_in_degrees() {
        gives("at 52.5200, 13.4050 and -33.8688,151.2093", &[(52.52, 13.405), (-33.8688, 151.2093)]);
        gives("52.52° N, 13.405° E", &[(52.52, 13.405)]);
        gives("52°31′12″N 13°24′18″E and 33°52'S, 151°12' E", &[(52.52, 13.405), (-33.866667, 151.2)]);
        gives("40° 26' 46\" N 79° 58' 56\" W", &[(40.446111, -79.982222)]);
    }

    #[test]
    fn out_of_range_is_none() {
        gives("91.0000, 13.4050; 45.1234, 180.5678; 52°61′N 13°E; 1.5, 2.5; versions 1.234.5, 6.789", &[]);
    }
}
