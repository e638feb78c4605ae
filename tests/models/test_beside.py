"""A judge beside the model that chats: whether both fit, and what context the judge leaves to the other."""

from pathlib import Path

import pytest

from menny.engine import Machine, active_memory
from menny.models.beside import CHAT_CONTEXT, JUDGE_CONTEXT, beside, context_beside, plan_at, room_beside
from menny.models.catalogue import ServerSource
from tests.engine.tiny_models import random_weights, tiny_args, write_folder

SERVER = ServerSource("http://127.0.0.1:1/v1", None, None)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    args = tiny_args(max_position_embeddings=1 << 20)
    return write_folder(tmp_path_factory.mktemp("model"), args, random_weights(args))


def test_both_fit_where_the_machine_has_room_for_their_sum(model: Path) -> None:
    plan = plan_at(model, JUDGE_CONTEXT, Machine("metal", 1 << 40))
    other = plan_at(model, CHAT_CONTEXT, Machine("metal", 1 << 40))
    assert plan
    assert other
    for room, fits in ((plan.total + other.total, True), (plan.total + other.total - 1, False)):
        told = beside(model, model, "Little", is_loaded=False, machine=Machine("metal", room))
        assert (told.fits, told.needed) == (fits, plan.total)
        assert str(told).endswith(" beside Little: fits.") == fits
        assert ("doesn't fit. Choose a smaller model" in str(told)) != fits


def test_a_server_takes_no_memory(model: Path) -> None:
    machine = Machine("metal", 1)
    assert str(beside(SERVER, model, "Little", is_loaded=False, machine=machine)) == "It judges on its server."
    assert beside(model, SERVER, "Far", is_loaded=True, machine=machine).left == 1
    assert context_beside(model, SERVER, False, machine) is None


def test_a_loaded_model_is_counted_once(model: Path) -> None:
    machine = Machine("cpu", 1 << 40)
    plan = plan_at(model, CHAT_CONTEXT, machine)
    assert plan
    assert room_beside(plan, False, machine) == machine.room - plan.total
    assert room_beside(plan, True, machine) == machine.room - active_memory() - (plan.total - plan.weights)
    assert room_beside(plan, True, Machine("metal", machine.room)) == machine.room - plan.total


def test_the_context_beside_a_judge_is_the_longest_that_leaves_it_room(model: Path) -> None:
    judge = plan_at(model, JUDGE_CONTEXT, Machine("metal", 1 << 40))
    other = plan_at(model, 100_000, Machine("metal", 1 << 40))
    assert judge
    assert other
    machine = Machine("metal", judge.total + other.total)
    context = context_beside(model, model, False, machine)
    assert context is not None
    longer = plan_at(model, context + 1024, machine)
    assert longer
    assert context >= 100_000 - 512
    assert longer.total + judge.total > machine.room
