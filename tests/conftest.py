"""Shared by all lanes."""

import pytest

pytest.register_assert_rewrite("conformance")
