#!/usr/bin/env bash
# Power of a paired t-test from scipy's noncentral t distribution: NaN at ordinary effects.
#
# Behaviour: for a large noncentrality, scipy 1.17.1 returns NaN for the lower-tail probability P(T <= -critical) at some
# points, where the true value is far below rounding (1e-17 and less), and a correct number at points beside them. The power of
# a two-sided test adds this negligible tail to the other one, so it becomes NaN at scattered effect sizes. statsmodels'
# TTestPower.power inherits the NaN, and a bisection for the effect with a given power can end at a wrong value, because
# every comparison with NaN is false. Guess that was wrong: a probability is a number wherever its arguments are.
# Consequence for us: P(T <= -critical) counts as 0 where it is NaN (runners/planning/power.py); the right answer for 10
# comparisons with 3 seeds is 10.36 standard deviations, and the bisection that stopped at a NaN said 6.84.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check scipy==1.17.1 statsmodels==0.15.0 "numpy<2.5" >/dev/null
"$folder/venv/bin/python" - <<'PYTHON'
import math

import scipy
import statsmodels
from scipy.special import nctdtr, stdtrit
from scipy.stats import nct
from statsmodels.stats.power import TTestPower

print(f"scipy {scipy.__version__}, statsmodels {statsmodels.__version__}")
num, alpha = 3, 0.005
degrees = num - 1
critical = float(stdtrit(degrees, 1 - alpha / 2))
nan_at = []
for effect in (3, 5, 7, 8, 10, 12):
    shift = math.sqrt(num) * effect
    upper, lower = 1 - nctdtr(degrees, shift, critical), nctdtr(degrees, shift, -critical)
    power = TTestPower().power(effect, num, alpha)
    print(f"effect {effect:4}: upper tail {upper:.6f}, lower tail {lower:.3g}, nct.cdf {nct.cdf(-critical, degrees, shift):.3g}, "
          f"TTestPower {power:.6f}")
    if math.isnan(lower):
        nan_at.append(effect)
        assert math.isnan(nct.cdf(-critical, degrees, shift))
        assert 0 < upper < 1, "the other tail is a number"
print("lower tail is NaN at effects", nan_at)
assert nan_at == [5, 7, 8], "scipy's noncentral t has changed"
PYTHON
