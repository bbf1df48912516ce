//! Elementary functions that give Go's results on amd64, bit for bit.
//!
//! The last digits of `exp`, `sin` and so on are those of an algorithm and the order of its
//! operations; a platform's own functions have others, and each platform its own. Prometheus'
//! results are those of Go's `math` package: Cephes (`sin`, `cos`, `tan`, `asin`, `acos`, `atan`,
//! `tanh`), FreeBSD's msun (`log`, `log1p`, the inverse hyperbolic functions) and SLEEF (`exp`).
//! Approximations and coefficients here are theirs. Not a single operation may be fused or
//! reordered, but where `mul_add` says so.

mod exponential;
mod hyperbolic;
mod trigonometric;

pub(crate) use exponential::{exp, exp2, ln, log2, log10, pow};
pub(crate) use hyperbolic::{acosh, asinh, atanh, cosh, sinh, tanh};
pub(crate) use trigonometric::{acos, asin, atan, atan2, cos, sin, tan};

/// The value of a polynomial, highest coefficient first, by Horner's rule.
#[inline(always)]
fn polynomial<const N: usize>(x: f64, coefficients: [f64; N]) -> f64 {
    coefficients.into_iter().reduce(|sum, c| sum * x + c).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{exponential::ln_1p, *};

    #[test]
    fn results_are_those_of_prometheus() {
        // Prometheus 3.5.3 on amd64.
        let cases: &[(f64, f64)] = &[
            (exp(0.1), 1.1051709180756477),
            (exp(-3.7), 0.024723526470339388),
            (exp(1.5), 4.481689070338065),
            (exp(100.25), 3.451610733125924e+43),
            (exp(-719.0792342058514), 5.1033638528e-313),
            (exp(709.7), f64::INFINITY),
            (ln(0.3), -1.2039728043259361),
            (ln(2.5), 0.9162907318741551),
            (ln(1e-300), -690.7755278982137),
            (ln(123456.789), 11.723646487185881),
            (log2(3.0), 1.5849625007211563),
            (log2(0.7), -0.5145731728297583),
            (log2(8.0), 3.0),
            (log10(574.8445813869994), 2.7595504419597052),
            (log10(1000.0), 3.0),
            (log10(0.02), -1.6989700043360187),
            (ln(5e-324), -709.0895657128241),
            (ln(3e-310), -709.0761730970895),
            (log2(5e-324), -1074.0),
            (log10(5e-324), -307.9536855642528),
            (log10(3e-310), -307.947869225141),
            (sin(0.5), 0.479425538604203),
            (sin(2.0), 0.9092974268256816),
            (sin(-4.0), 0.7568024953079282),
            (sin(1000000.0), -0.34999350217129294),
            (sin(1e+22), -0.8522008497671889),
            (cos(0.5), 0.8775825618903728),
            (cos(2.0), -0.4161468365471424),
            (cos(-4.0), -0.6536436208636119),
            (cos(1000000.0), 0.9367521275331447),
            (cos(1e+22), 0.5232147853951389),
            (tan(0.5), 0.5463024898437905),
            (tan(2.0), -2.185039863261519),
            (tan(-4.0), -1.1578212823495775),
            (tan(1000000.0), -0.373624453987599),
            (tan(1e+22), -1.6287782256068992),
            (asin(0.3), 0.3046926540153975),
            (asin(-0.9), -1.1197695149986342),
            (acos(0.3), 1.266103672779499),
            (acos(-0.9), 2.6905658417935308),
            (atan(0.3), 0.2914567944778671),
            (atan(-7.5), -1.4382447944982226),
            (sinh(0.3), 0.3045202934471426),
            (sinh(-2.0), -3.626860407847019),
            (sinh(30.0), 5343237290762.23),
            (cosh(0.3), 1.0453385141288605),
            (cosh(-2.0), 3.7621956910836314),
            (cosh(30.0), 5343237290762.23),
            (tanh(0.3), 0.2913126124515909),
            (tanh(-2.0), -0.9640275800758169),
            (asinh(0.3), 0.29567304756342244),
            (asinh(-5.0), -2.3124383412727525),
            (asinh(10000000000.0), 23.7189981105004),
            (acosh(1.2), 0.6223625037147786),
            (acosh(5.0), 2.2924316695611777),
            (acosh(10000000000.0), 23.7189981105004),
            (atanh(0.3), 0.30951960420311175),
            (atanh(-0.8), -1.0986122886681098),
            (pow(2.0, 0.3), 1.2311444133449163),
            (pow(1.1, -200.5), 5.020727212095604e-09),
            (pow(10.0, -5.0), 1e-05),
            (pow(-3.0, 7.0), -2187.0),
            (pow(0.9, 100000.0), 0.0),
            (atan2(1.0, 2.0), 0.4636476090008061),
            (atan2(-1.0, -3.0), -2.819842099193151),
            (atan2(5.0, -0.1), 1.590793660768047),
        ];
        for (i, (got, expected)) in cases.iter().enumerate() {
            assert_eq!(got.to_bits(), expected.to_bits(), "case {i}: {got:e}, {expected:e}");
        }
    }

    #[test]
    fn special_values() {
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        assert_eq!((exp(-inf), exp(inf), exp(800.0), exp(-800.0)), (0.0, inf, inf, 0.0));
        assert_eq!((ln(0.0), ln(inf), log2(0.25), log2(0.0)), (-inf, inf, -2.0, -inf));
        assert_eq!((exp2(10.0), exp2(-1074.0), exp2(1024.0)), (1024.0, 5e-324, inf));
        assert_eq!((pow(nan, 0.0), pow(1.0, nan), pow(-1.0, inf)), (1.0, 1.0, 1.0));
        assert_eq!((pow(-0.0, -3.0), pow(-0.0, -2.0), pow(-inf, 3.0)), (-inf, inf, -inf));
        assert_eq!((pow(2.0, 1e300), pow(0.5, 1e300), pow(-1.0, 1e300)), (inf, 0.0, 1.0));
        assert_eq!(
            (asinh(-inf), tanh(-inf), atanh(1.0), atan(inf)),
            (-inf, -1.0, inf, std::f64::consts::FRAC_PI_2)
        );
        for f in [sin, cos, tan, asin, acos, ln, acosh, atanh] {
            assert!(f(-inf).is_nan() && f(nan).is_nan());
        }
        for f in [sin, tan, asin, atan, sinh, tanh, asinh, atanh] {
            assert!(f(-0.0) == 0.0 && f(-0.0).is_sign_negative());
        }
    }

    /// Whether results differ by no more than the last digits.
    fn close(a: f64, b: f64) -> bool {
        a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-12 * a.abs().max(b.abs())
    }

    proptest! {
        #[test]
        fn results_are_close_to_those_of_the_platform(
            x in prop_oneof![-20.0..20.0, -1.0..1.0, prop::num::f64::NORMAL],
            y in -30.0..30.0,
        ) {
            type Function = fn(f64) -> f64;
            let functions: [(Function, Function); 17] = [
                (exp, f64::exp), (exp2, f64::exp2), (ln, f64::ln), (log2, f64::log2),
                (log10, f64::log10), (sin, f64::sin), (cos, f64::cos), (asin, f64::asin),
                (acos, f64::acos), (atan, f64::atan), (sinh, f64::sinh), (cosh, f64::cosh),
                (tanh, f64::tanh), (asinh, f64::asinh), (acosh, f64::acosh), (atanh, f64::atanh),
                (ln_1p, f64::ln_1p),
            ];
            for (i, (ours, std)) in functions.iter().enumerate() {
                let (a, b) = (ours(x), std(x));
                // Near zeros of the sine and the like only the absolute error is small.
                prop_assert!(close(a, b) || (a - b).abs() < 1e-15, "{i}: {x:e}: {a:e} {b:e}");
            }
            // Errors of the logarithm grow with the exponent.
            let (a, b) = (pow(x.abs(), y), x.abs().powf(y));
            prop_assert!(close(a, b) || (a / b - 1.0).abs() < 1e-11 || b < 1e-300, "{x:e} {y:e}");
            prop_assert!(close(atan2(x, y), x.atan2(y)));
        }
    }
}
