"""Does training improve on its start, and does it repay the budget that it takes?"""

from dpbench.leaderboard.sections import Section, make_sections
from dpbench.leaderboard.tables import best_tables
from leaderboard.fabricate import trial


def section(**figures: list[float]) -> Section:
    names = {
        "trained": "ae-GAN+mixture",
        "start": "ae-GAN+mixture (start)",
        "alone": "ae-Mixture",
        "other": "wgan-Mixture",
        "longer": "ae-Mixture-SGD",
    }
    results = [
        trial(names[which], fid=fid, seed=seed)
        for which, fids in figures.items()
        for seed, fid in enumerate(fids)
    ]
    (found,) = make_sections(results)
    return found


def verdicts(shown: Section) -> dict[str, str]:
    tables = {table.name: table for table in best_tables(shown)}
    return {row[2]: row[-1] for row in tables["starts"].rows} if "starts" in tables else {}


def test_a_method_stands_beside_its_start_and_the_release_alone() -> None:
    shown = section(
        trained=[20.0, 31.0, 25.0],
        start=[22.0, 33.5, 27.0],
        alone=[18.0, 29.0, 23.5],
        other=[1.0, 1.0, 1.0],
    )
    assert verdicts(shown) == {"ae-GAN+mixture (start)": "better", "ae-Mixture": "worse"}


def test_seeds_are_paired_and_what_spreads_is_no_difference() -> None:
    shown = section(trained=[20.0, 31.0, 25.0], start=[22.0, 29.0, 25.5])
    assert verdicts(shown) == {"ae-GAN+mixture (start)": "no difference"}


def test_what_extends_a_release_by_steps_stands_beside_it() -> None:
    shown = section(longer=[15.0, 26.0, 19.5], alone=[18.0, 29.0, 23.5])
    assert verdicts(shown) == {"ae-Mixture": "better"}


def test_one_seed_decides_nothing() -> None:
    assert verdicts(section(trained=[20.0], start=[90.0])) == {"ae-GAN+mixture (start)": "one seed"}


def test_without_a_control_there_is_no_such_table() -> None:
    assert verdicts(section(trained=[20.0, 21.0], other=[9.0, 9.0])) == {}
