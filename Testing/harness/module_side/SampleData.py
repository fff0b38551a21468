"""Stand-in for Slicer's module "Sample Data": notes the registered sources. It downloads nothing."""

from types import SimpleNamespace

__all__ = ["SampleDataLogic"]


class SampleDataLogic:
    """Registration as in Slicer; ``registered`` is for tests."""

    #: Keywords of each registration, by sample name.
    registered: dict[str, dict] = {}  # noqa: RUF012 - one registry per process is what is meant

    @staticmethod
    def sampleDataSourcesByCategory(category=None):
        return [SimpleNamespace(**one) for one in SampleDataLogic.registered.values() if one["category"] == category]

    @staticmethod
    def registerCustomSampleDataSource(
        category="Custom",
        sampleName=None,
        uris=None,
        fileNames=None,
        nodeNames=None,
        customDownloader=None,
        thumbnailFileName=None,
        loadFileType=None,
        loadFiles=None,
        loadFileProperties=None,
        checksums=None,
    ):
        source = dict(locals())
        if uris is not None:
            as_lists = [[one] if isinstance(one, str) else one for one in (uris, fileNames, nodeNames)]
            if len({len(one) for one in as_lists if one is not None}) > 1:
                raise ValueError("All fields of sample data source must have the same length")
        SampleDataLogic.registered[sampleName] = source
