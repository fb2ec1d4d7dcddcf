"""What all tests share: the order (fast before slow) and the folder of measured data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--data",
        metavar="DIR",
        default=os.environ.get("I2IPR_DATA"),
        help="folder with measured patterns and images (default: the environment variable I2IPR_DATA); "
        "tests that need it are skipped without it",
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run everything quick before anything marked slow, each in the order it was collected."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


@pytest.fixture(scope="session")
def repository() -> Path:
    """Top level of the checkout that holds these tests."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_dir(pytestconfig: pytest.Config) -> Path:
    """Folder of measured patterns and images; skips the test where there is none."""
    given = pytestconfig.getoption("--data")
    if not given:
        pytest.skip("needs measured data: --data DIR or I2IPR_DATA")
    folder = Path(given).expanduser().resolve()
    if not folder.is_dir():
        pytest.fail(f"got {folder} as the data folder; expected an existing folder; correct --data or I2IPR_DATA")
    return folder
