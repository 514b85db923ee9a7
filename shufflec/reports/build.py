"""Makes the report of a bundle: what its manifest says and, once it was profiled, what it costs."""

from __future__ import annotations

from shufflec.backends.bundle import REPORT_HTML, REPORT_JSON, Bundle
from shufflec.backends.manifest import Accuracy as ManifestAccuracy
from shufflec.models.complexity import complexity
from shufflec.profiling.profile import Profile
from shufflec.profiling.roofline import roofline
from shufflec.reports import html
from shufflec.reports.build_cost import report_cost, report_layers, report_roofline, target_info
from shufflec.reports.schema import (
    SCHEMA_VERSION,
    Accuracy,
    ArenaTensor,
    Report,
    Shuffle,
    ShuffleSite,
    Verification,
)


def bundle_report(bundle: Bundle, profile: Profile | None = None, deepest_stack_bytes: int | None = None) -> Report:
    """The report of a bundle; without a profile, cost and verification are null.

    deepest_stack_bytes: of firmware, seen while profiling.
    """
    contents, architecture = bundle.manifest.contents, bundle.architecture
    limits = None if profile is None else roofline(bundle, profile)
    return Report(
        schema=SCHEMA_VERSION,
        model=architecture.title if architecture is not None else bundle.name,
        variant=architecture.variant if architecture is not None else None,
        groups=architecture.groups if architecture is not None else None,
        scale=architecture.scale if architecture is not None else None,
        input=contents.input_shape[2:],
        classes=contents.output_shape[1],
        random_weights=contents.random_weights,
        macs=contents.macs,
        parameters=complexity(architecture).params if architecture is not None else None,
        accuracy=_accuracy(contents.accuracy),
        shuffle=Shuffle(
            contents.shuffle.found,
            contents.shuffle.folded,
            contents.shuffle.copies_left,
            tuple(ShuffleSite(site.layer, site.rows, site.shape) for site in contents.shuffle.sites),
        ),
        target=target_info(contents.target),
        code_bytes=contents.code_bytes,
        weight_bytes=contents.weight_bytes,
        peak_activation_bytes=contents.memory.arena_bytes,
        lower_bound_bytes=contents.memory.lower_bound_bytes,
        stack_bytes=contents.memory.stack_bytes,
        deepest_stack_bytes=deepest_stack_bytes,
        cost=None if profile is None else report_cost(bundle, profile),
        roofline=None if profile is None or limits is None else report_roofline(limits, profile),
        layers=report_layers(bundle, profile, limits),
        memory=tuple(
            ArenaTensor(buffer.name, buffer.offset, buffer.bytes, buffer.first, buffer.last)
            for buffer in contents.memory.buffers
        ),
        verification=None if profile is None else _verification(profile),
        environment=dict(contents.tools),
    )


def report_files(bundle: Bundle, profile: Profile | None = None) -> dict[str, str]:
    """Texts of report.json and report.html, by file name. Equal bundles and profiles give equal texts."""
    return files_of(bundle_report(bundle, profile))


def files_of(report: Report) -> dict[str, str]:
    """The same of a report."""
    return {REPORT_JSON: report.to_json(), REPORT_HTML: html.render(report)}


def _accuracy(known: ManifestAccuracy | None) -> Accuracy:
    if known is None:
        return Accuracy(None, None, None, None, None)
    dataset = f"{known.images} held-out images of {known.data}"
    return Accuracy(known.float_top1, known.float_top5, known.int8_top1, known.int8_top5, dataset)


def _verification(profile: Profile) -> Verification:
    return Verification(
        against="NumPy integer reference",
        compared="logits, bit for bit,",
        inputs=profile.inputs,
        source="seeded images",
        equal=True,
    )
