"""Whatever is wished, measured or left out, no limit of either body is broken."""

from collections import Counter

import pytest
from adversary import KINDS, Adversary, Judge

BOUTS = 20
"""Ways of wishing in the life of a guard."""


def attack(name: str, ticks: int, seed: int) -> tuple[Counter, dict[str, float], int]:
    """Ticks that broke what, the worst figures and how many ticks were tried."""
    adversary = Adversary(KINDS[name], seed)
    broken, worst, tried = Counter(), Counter(), 0
    while tried < ticks:
        judge = Judge(adversary.kind, adversary.guard.setpoint)
        for _ in range(BOUTS):
            judge.see(adversary.bout(int(adversary.rng.integers(1, 300))))
        broken.update(judge.broken)
        worst = Counter({n: max(worst[n], figure) for n, figure in judge.worst.items()})
        tried += judge.ticks
        adversary.start_anew()
    return +broken, worst, tried


@pytest.mark.parametrize("name", KINDS)
def test_no_limit_is_broken(name):
    broken, worst, _ = attack(name, 10_000, seed=12)
    assert not broken, worst
    assert worst["workspace"] > 0.0, "it was tried"


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", KINDS)
def test_no_limit_is_broken_in_half_a_million_ticks(name, capsys):
    broken, worst, tried = attack(name, 500_000, seed=2026)
    with capsys.disabled():
        figures = ", ".join(f"{n} {figure:.2g}" for n, figure in worst.items())
        print(f"\n{name}: {tried} ticks, broken: {dict(broken)}; beyond the limit: {figures}")
    assert not broken
