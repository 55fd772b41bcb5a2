"""The trainer learns, round by round, and gives the same bits for the same seed."""

from collections import Counter

import numpy as np
import pytest
from toy import ToyBackend, label, toy_trainer

from tierloop.cloud.experience import Experience
from tierloop.cloud.lineage import SegmentRange
from tierloop.cloud.rollout import TWIN
from tierloop.contract.errors import SpecError
from tierloop.contract.messages import SegmentId
from tierloop.policy.artefact import unpack


def lived(n, first=0, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.uniform(-1, 1, (n, 3)).astype(np.float32)
    return Experience(features, (SegmentId("arm-0", 7, first),), {"lived": n, "twin": 0}, first)


def twin(segments):
    features = np.concatenate([segment.features for segment in segments])
    keys = tuple(SegmentId(s.device, s.boot, s.seq) for s in segments)
    return Experience(features, keys, {"lived": 0, "twin": len(features)}, 0)


def play_round(trainer, news):
    trainer.fit([news, twin(trainer.play([news]))])
    trainer.judge()
    return trainer.conclude()


def test_success_climbs_from_nothing_and_every_release_is_better(spec):
    trainer = toy_trainer(spec, ToyBackend(spec))
    first = trainer.untrained()
    assert (first.version, first.state, first.parents, first.data) == (0, "released", (), ())
    records = [play_round(trainer, lived(50, k, seed=k)) for k in range(3)]
    assert [r.version for r in records] == [1, 2, 3]
    assert records[0].state == "released"
    assert trainer.incumbent == max(r.version for r in records if r.state == "released")
    assert records[0].metrics["incumbent"] <= 0.2
    assert max(r.metrics["success"] for r in records) >= 0.9


def test_same_seed_same_bits_another_seed_others(spec):
    def blobs(seed):
        trainer = toy_trainer(spec, ToyBackend(spec), seed)
        return trainer.untrained().blob, play_round(trainer, lived(50)).blob

    assert blobs(1) == blobs(1)
    assert blobs(1)[0] != blobs(2)[0]
    assert blobs(1)[1] != blobs(2)[1]


def test_the_artefact_says_what_it_was_trained_on(spec):
    trainer = toy_trainer(spec, ToyBackend(spec))
    trainer.untrained()
    record = play_round(trainer, lived(50))
    manifest = unpack(record.blob).manifest
    assert manifest.version == 1
    assert manifest.parents == record.parents == (0,)
    assert manifest.samples == {"lived": 50, "twin": 96}
    assert record.data == (SegmentRange("arm-0", 7, 0, 0), SegmentRange(TWIN, 5, 0, 7))
    assert [(d.device, d.first, d.last) for d in manifest.trained_on] == [
        ("arm-0", 0, 0),
        (TWIN, 0, 7),
    ]
    assert manifest.metrics["success"] == record.metrics["success"]


def test_the_teacher_acts_less_in_every_round(spec):
    backend = ToyBackend(spec)
    trainer = toy_trainer(spec, backend)
    trainer.untrained()
    shares = []
    for k in range(3):
        backend.jobs.clear()
        trainer.play([lived(50, k)])
        shares.append({job.teacher_share for job in backend.jobs})
        trainer.fit([lived(50, k)])
        trainer.judge()
        trainer.conclude()
    assert shares == [{1.0}, {0.5}, {0.25}]


def test_labels_are_the_teachers_and_all_data_are_kept(spec):
    backend = ToyBackend(spec)
    trainer = toy_trainer(spec, backend)
    trainer.untrained()
    news = [lived(50, k, seed=k) for k in range(2)]
    trainer.fit(news[:1])
    trainer.judge()
    trainer.conclude()
    trainer.fit(news[1:])
    both = np.concatenate([n.features for n in news])
    np.testing.assert_array_equal(backend.fits[-1].features, both)
    np.testing.assert_array_equal(backend.fits[-1].labels, label(both))
    assert backend.fits[0].start is None
    assert backend.fits[1].start is not None


def test_each_gate_has_fresh_seeds_which_both_sides_play(spec):
    backend = ToyBackend(spec)
    trainer = toy_trainer(spec, backend)
    trainer.untrained()
    played, gates = [], []
    for k in range(3):
        backend.jobs.clear()
        trainer.play([lived(50, k)])
        played.append({seed for job in backend.jobs for seed in job.seeds})
        trainer.fit([lived(50, k)])
        backend.jobs.clear()
        sides = {trainer.version, trainer.incumbent}
        verdict = trainer.judge()
        assert {job.version for job in backend.jobs} == sides
        assert all(job.teacher_share == 0 for job in backend.jobs)
        seeds = Counter(seed for job in backend.jobs for seed in job.seeds)
        assert len(seeds) == verdict.seeds
        assert set(seeds.values()) == {2}
        gates.append(set(seeds))
        trainer.conclude()
    together = [seed for seeds in (*played, *gates) for seed in seeds]
    assert len(set(together)) == len(together)


def test_a_round_that_is_judged_again_finds_the_same(spec):
    """As after a step that failed: the seeds come from the trainer's seed and the round alone."""
    trainer = toy_trainer(spec, ToyBackend(spec))
    trainer.untrained()
    trainer.fit([lived(50), twin(trainer.play([lived(50)]))])
    assert trainer.judge() == trainer.judge()


def test_every_other_episode_begins_where_a_body_has_been_since_the_last_round(spec):
    backend = ToyBackend(spec)
    trainer = toy_trainer(spec, backend)
    trainer.untrained()

    def begun(jobs):
        """Which of the jobs begin anew, and where the others do."""
        anew = [job.posture_rad is None for job in jobs]
        return anew, {float(job.posture_rad[0]) for job in jobs if job.posture_rad is not None}

    for k in range(2):
        news = lived(50, k, seed=k)
        been = {float(at) for at in news.features[:, 0]}
        backend.jobs.clear()
        trainer.play([news])
        anew, postures = begun(backend.jobs)
        assert anew == [True, False] * 4
        assert len(postures) > 1
        assert postures <= been
        trainer.fit([news])
        backend.jobs.clear()
        seeds = trainer.judge().seeds
        both = {job.seeds: begun([job]) for job in backend.jobs}
        assert len(both) == seeds
        assert all(begun([job]) == both[job.seeds] for job in backend.jobs), "alike for both sides"
        assert sum(anew for (anew,), _ in both.values()) == (seeds + 1) // 2
        assert set.union(*(postures for _, postures in both.values())) <= been
        trainer.conclude()


def test_a_refused_candidate_is_gone_on_from_but_not_the_incumbent(spec):
    backend = ToyBackend(spec)
    trainer = toy_trainer(spec, backend, gate_episodes=40, gate_p=2e-12)
    trainer.untrained()
    first = play_round(trainer, lived(50))
    assert (first.state, first.blob) == ("refused", b"")
    second = play_round(trainer, lived(50, 1, seed=1))
    assert second.parents == (1,)
    assert backend.fits[1].start is not None
    assert trainer.incumbent == 0


def test_a_resumed_trainer_goes_on_from_the_release(spec):
    trainer = toy_trainer(spec, ToyBackend(spec))
    trainer.untrained()
    record = play_round(trainer, lived(50))
    backend = ToyBackend(spec)
    again = toy_trainer(spec, backend)
    again.resume(record, 4)
    following = play_round(again, lived(50, 1, seed=1))
    assert (following.version, following.parents) == (4, (1,))
    assert following.metrics["incumbent"] >= 0.5, "that is the release in the toy world"
    released = unpack(record.blob).mlp
    assert backend.fits[0].start.encode() == released


def test_enough_is_min_lived_at_first_and_anything_later(spec):
    trainer = toy_trainer(spec, ToyBackend(spec))
    trainer.untrained()
    assert not trainer.enough([lived(39)])
    assert trainer.enough([lived(20), lived(20)])
    play_round(trainer, lived(50))
    assert not trainer.enough([])
    assert trainer.enough([lived(1)])


def test_a_fit_on_nothing_is_a_mistake(spec):
    trainer = toy_trainer(spec, ToyBackend(spec))
    with pytest.raises((SpecError, ValueError)):
        trainer.fit([])


def test_conclude_follows_judge(spec):
    with pytest.raises(RuntimeError, match="judge"):
        toy_trainer(spec, ToyBackend(spec)).conclude()
