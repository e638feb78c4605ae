"""The catalogue: which models Menny knows, where each may lie on this machine, whether it fits, and how to get it."""

from menny.models.catalogue.entries import CatalogueFile, ModelEntry, Shape, TemplateName
from menny.models.catalogue.families import CHOICES, Family, Sections, families, sections
from menny.models.catalogue.fit import Fit, will_it_fit
from menny.models.catalogue.own import add_entry, own_ids, remove_entry
from menny.models.catalogue.places import (
    PackageSource,
    PathSource,
    RepoSource,
    ServerSource,
    hub_cache,
    is_address,
    is_repo,
    model_at,
)
from menny.models.catalogue.recommend import Recommendation, recommend
from menny.models.catalogue.specs import ModelSpec, here_first, load_catalogue, local_spec, resolve

__all__ = [
    "CHOICES",
    "CatalogueFile",
    "Family",
    "Fit",
    "ModelEntry",
    "ModelSpec",
    "PackageSource",
    "PathSource",
    "Recommendation",
    "RepoSource",
    "Sections",
    "ServerSource",
    "Shape",
    "TemplateName",
    "add_entry",
    "families",
    "here_first",
    "hub_cache",
    "is_address",
    "is_repo",
    "load_catalogue",
    "local_spec",
    "model_at",
    "own_ids",
    "recommend",
    "remove_entry",
    "resolve",
    "sections",
    "will_it_fit",
]
