"""Recipe files: what is shipped says what was published; what comes from outside is checked field by field."""

from __future__ import annotations

import pytest

from shufflec.errors import InputFileError, OptionError
from shufflec.training.recipe import Recipe
from shufflec.training.recipe_file import DEFAULT_RECIPE, load_recipe, read_recipe, recipe_names

IMAGENET_STEPS = 1_281_167 // 512


def test_shipped_recipes():
    names = ["digits", "megvii-v1", "megvii-v2", "mindcv-v1", "mindcv-v1-1x", "torchvision-v2"]
    assert recipe_names() == names
    for name in names:
        recipe = load_recipe(name)
        assert recipe.name == name
        assert recipe.title
        assert (recipe.sources == ()) == (name == DEFAULT_RECIPE)
        assert (recipe.family is None) == (name == DEFAULT_RECIPE)


def test_digits_is_what_training_always_did():
    recipe = load_recipe(DEFAULT_RECIPE)
    assert recipe.resolve({}, (32, 32)) == Recipe(shift=2)
    assert recipe.resolve({}, (224, 300)) == Recipe(shift=14)
    assert recipe.resolve({"shift": 0}, (32, 32)) == Recipe()
    assert recipe.resolve({}, (32, 32)).to_dict() == {
        "optimizer": "sgd_nesterov",
        "schedule": "warmup_cosine",
        "epochs": 60,
        "batch_size": 32,
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "label_smoothing": 0.1,
        "warmup_epochs": 3,
        "shift": 2,
        "rotate": 0.0,
        "zoom": 0.0,
        "flip": False,
        "threads": 1,
    }


def test_mindcv_as_published():
    file = load_recipe("mindcv-v1")
    assert (file.family, file.groups, file.scale, file.variant) == ("v1", 3, 0.5, "mindcv")
    assert (file.crop_fraction, file.resize) == (0.875, None)
    recipe = file.resolve({}, (224, 224))
    assert (recipe.epochs, recipe.warmup_epochs, recipe.batch_size, recipe.peak_lr) == (250, 4, 8 * 64, 0.35)
    assert (recipe.weight_decay, recipe.label_smoothing, recipe.momentum) == (4e-5, 0.1, 0.9)
    assert (recipe.nesterov, recipe.flip, recipe.color_jitter) == (False, True, 0.4)
    assert recipe.crop_area == (0.08, 1.0)
    assert recipe.learning_rate(4 * IMAGENET_STEPS, IMAGENET_STEPS) == 0.35
    assert recipe.learning_rate(127 * IMAGENET_STEPS, IMAGENET_STEPS) == pytest.approx(0.35 / 2)


@pytest.mark.parametrize("name", ["megvii-v1", "megvii-v2"])
def test_megvii_as_published(name):
    file = load_recipe(name)
    recipe = file.resolve({}, (224, 224))
    assert (file.family, file.variant) == (name[-2:], "megvii")
    assert (recipe.total_steps, recipe.batch_size, recipe.peak_lr) == (300_000, 1024, 0.5)
    assert (recipe.weight_decay, recipe.label_smoothing, recipe.nesterov, recipe.bn_epochs) == (4e-5, 0.1, False, 1)
    rates = [recipe.learning_rate(step, 1251) for step in (0, 150_000, 299_999)]
    assert rates == pytest.approx([0.5, 0.25, 0.5 / 300_000])
    assert recipe.epochs_of(1251) == 240
    assert "epochs" not in recipe.to_dict()


def test_the_learning_rate_follows_the_batch_unless_it_is_given():
    file = load_recipe("mindcv-v1")
    assert file.resolve({"batch_size": 64}, (224, 224)).peak_lr == pytest.approx(0.35 / 8)
    assert file.resolve({"batch_size": 64, "lr": 0.1}, (224, 224)).peak_lr == 0.1
    assert file.resolve({"batch_size": 64, "lr": None}, (224, 224)).peak_lr == pytest.approx(0.35 / 8)


def test_epochs_take_the_place_of_steps_and_the_other_way_round():
    megvii = load_recipe("megvii-v1")
    assert megvii.resolve({"epochs": 5}, (224, 224)).steps_of(10) == 50
    assert megvii.resolve({"total_steps": 7}, (224, 224)).steps_of(10) == 7
    mindcv = load_recipe("mindcv-v1").resolve({"total_steps": 21}, (224, 224))
    assert (mindcv.steps_of(10), mindcv.epochs_of(10)) == (21, 3)


def test_options_are_checked_like_the_file(tmp_path):
    with pytest.raises(OptionError, match=r"ema 1\.0: expected 0 to 0\.999999"):
        load_recipe("mindcv-v1").resolve({"ema": 1.0}, (224, 224))
    with pytest.raises(OptionError, match=r"--recipe mindcv: expected one of digits, .*did you mean mindcv-v1\?"):
        load_recipe("mindcv")
    with pytest.raises(InputFileError, match="no such file"):
        load_recipe(str(tmp_path / "none.toml"))


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[model]\nfamily = "v2"\nscale = 1\n[schedule]\nlr = 1\n[augmentation]\ncrop_area = [0.25, 1]\n')
    file = load_recipe(str(path))
    assert (file.name, file.family, file.scale) == ("mine", "v2", 1.0)
    recipe = file.resolve({}, (32, 32))
    assert (recipe.lr, recipe.crop_area, recipe.epochs) == (1.0, (0.25, 1.0), Recipe().epochs)
    assert isinstance(recipe.lr, float)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[schedule]\nlr = 0.1\nlr = 0.2", "is not valid TOML: "),
        ("[schedule]\nlearning_rate = 0.1", "schedule.learning_rate is not a field of a recipe"),
        ("[schedule]\nepoch = 3", "schedule.epoch is not a field of a recipe (did you mean schedule.epochs?)"),
        ("[optimizer]\nlr = 0.1", "optimizer.lr is not a field of a recipe (did you mean schedule.lr?)"),
        ("[augmentation]\ncolour_jitter = 0.4", "(did you mean augmentation.color_jitter?)"),
        ("lr = 0.1", "lr is not a field of a recipe (did you mean schedule.lr?)"),
        ("[shedule]\nlr = 0.1", "shedule is not a field of a recipe"),
        ("schedule = 3", "schedule is 3, expected a table of epochs"),
        ("[schedule]\nlr = '0.1'", "schedule.lr is '0.1', expected a number from 1e-08 to 100"),
        ("[schedule]\nlr = nan", "schedule.lr is nan, expected a number"),
        ("[schedule]\nlr = true", "schedule.lr is True, expected a number"),
        ("[schedule]\nepochs = 2.5", "schedule.epochs is 2.5, expected a whole number from 1 to 100000"),
        ("[schedule]\nepochs = 0", "schedule.epochs is 0, expected a whole number"),
        ("[schedule]\ndecay = 'step'", "schedule.decay is 'step', expected one of cosine, linear"),
        ("[schedule]\ndecay = ['linear']", "schedule.decay is ['linear'], expected one of cosine, linear"),
        ("[schedule]\nepochs = 3\ntotal_steps = 9", "schedule.epochs and schedule.total_steps, expected one"),
        ("[optimizer]\nnesterov = 1", "optimizer.nesterov is 1, expected true or false"),
        ("[augmentation]\ncrop_area = [1, 0.1]", "augmentation.crop_area is [1, 0.1], expected two numbers from 0.01"),
        ("[augmentation]\ncrop_area = 0.1", "augmentation.crop_area is 0.1, expected two numbers"),
        ("[augmentation]\ntrain_size = 16", "augmentation.train_size is 16, expected 0 or a whole number from 32"),
        ("[evaluation]\nresize = 256\ncrop_fraction = 0.5", "evaluation.resize and evaluation.crop_fraction"),
        ("[model]\ngroups = 3", "model.family is missing"),
        ("[model]\nfamily = 'v3'", "model.family is 'v3', expected one of v1, v2"),
        ("[model]\nfamily = 'v1'\ngroups = 5", "model.groups is 5, expected one of 1, 2, 3, 4, 8"),
        ("[model]\nfamily = 'v2'\ngroups = 3", "model.groups is for family v1"),
        (
            "[model]\nfamily = 'v2'\nvariant = 'mindcv'",
            "model.variant is 'mindcv', expected one of torchvision, megvii",
        ),
        ("[model]\nfamily = 'v2'\nscale = 0.25", "model.scale is 0.25, expected one of 0.5"),
        ("name = ''", "name is '', expected a short text"),
        ("sources = ['a', 3]", "sources is ['a', 3], expected a list of texts"),
    ],
)
def test_bad_files_are_one_line_with_the_field(tmp_path, text, message):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(InputFileError) as caught:
        read_recipe(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_text_or_too_large(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputFileError, match="is not valid TOML"):
        read_recipe(path)
    path.write_text("#" * 70_000)
    with pytest.raises(InputFileError, match="more than the 65536 allowed"):
        read_recipe(path)
    path.write_text("a = " + "[" * 5000 + "]" * 5000)
    with pytest.raises(InputFileError, match="is not valid TOML"):
        read_recipe(path)
