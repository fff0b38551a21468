"""Clusters to run on: this machine's cores, a scheduler that runs already, jobs of SLURM, PBS or LSF."""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FlairSegError, MissingDependencyError, WorkerError
from ..segmentation.inference import available_cores
from .executors import Executor, InProcess

if TYPE_CHECKING:
    from distributed.deploy.cluster import Cluster

SLURM, PBS, LSF = "slurm", "pbs", "lsf"
#: Batch systems and the class of dask-jobqueue for each.
BATCH_SYSTEMS = {SLURM: "SLURMCluster", PBS: "PBSCluster", LSF: "LSFCluster"}
#: Memory that one session takes at most, measured with the default model on 512 x 512 x 40 and on 1 mm isotropic
#: FLAIRs, with a margin. Where less is there, fewer workers run.
NEEDED_BYTES = 3 << 30
#: Memory of a worker with a loaded model before any image is read.
LEAST_BYTES = 600 * 10**6
#: Share of the machine's memory that workers may take together.
SHARE = 0.85
#: Seconds within which a running scheduler has to answer.
CONNECT_S = 15.0
#: Dashboard address that conflicts with no other program.
FREE_PORT = "127.0.0.1:0"
#: Share of its limit at which Dask ends a worker.
_TERMINATE = 0.95
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30,
          "ti": 1 << 40}  # fmt: skip


@dataclass(frozen=True)
class ClusterOptions:
    """Executor and resources of a run.

    Attributes
    ----------
    jobs : int or None
        Sessions at once; None: as many as cores and memory allow. Of a batch system: jobs.
    memory : str
        Of each worker, such as ``4GB``; empty: an equal share of this machine's, of a batch job 4 GB.
    scheduler : str
        Address of a running scheduler; empty: none.
    batch : str
        ``slurm``, ``pbs``, ``lsf``, or empty.
    cores : int
        Of each job of a batch system.
    walltime, queue, account : str
        Of each job.
    job_options : tuple of str
        Further lines of the job script (``--gres=gpu:1``).
    prologue : tuple of str
        Commands of the job script before the worker starts (``module load``, ``source activate``).
    dashboard : str
        Address of the dashboard of a cluster on this machine; empty: none.
    """

    jobs: int | None = None
    memory: str = ""
    scheduler: str = ""
    batch: str = ""
    cores: int = 2
    walltime: str = "04:00:00"
    queue: str = ""
    account: str = ""
    job_options: tuple[str, ...] = field(default=())
    prologue: tuple[str, ...] = field(default=())
    dashboard: str = FREE_PORT

    @property
    def is_local(self) -> bool:
        """Whether the workers are this machine's."""
        return not self.scheduler and not self.batch


@dataclass(frozen=True)
class Share:
    """Resources of each worker on this machine: ``workers`` of ``cores`` and ``memory_bytes`` each."""

    workers: int
    cores: int
    memory_bytes: int


def bytes_of(text: str) -> int:
    """A size such as ``4GB``, ``3.5 GiB`` or ``800M`` in bytes.

    Raises
    ------
    FlairSegError
        Code ``not-a-size``.
    """
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]i?)?b?\s*", text, re.IGNORECASE)
    if found is None:
        raise FlairSegError(f"{text!r} is not a memory size.", "Write it as 4GB or 3500MB.", code="not-a-size")
    return int(float(found[1]) * _UNITS[(found[2] or "").lower()])


def available_memory() -> int:
    """Bytes that this process may use: those of the machine, or what a container or batch job allows."""
    try:
        from distributed.system import memory_limit
    except ImportError:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else NEEDED_BYTES
    return int(memory_limit())


def share_of(options: ClusterOptions, sessions: int, memory: int | None = None, cores: int | None = None) -> Share:
    """Determine the number of workers on this machine, and the resources of each.

    Parameters
    ----------
    options : ClusterOptions
    sessions : int
        No more workers than these.
    memory, cores : int, optional
        Of the machine; default: as found.

    Returns
    -------
    Share

    Raises
    ------
    FlairSegError
        Code ``not-a-size``; ``memory-too-small``: for a worker, as it was asked for or as so many would share it.
    """
    memory = available_memory() if memory is None else memory
    cores = available_cores() if cores is None else cores
    each = bytes_of(options.memory) if options.memory else 0
    if options.is_local and 0 < each < LEAST_BYTES:
        raise _memory_too_small(f"A worker with {options.memory} of memory")
    fitting = max(1, int(SHARE * memory) // (each or NEEDED_BYTES))
    workers = options.jobs or (min(cores, fitting) if find_spec("distributed") else 1)
    workers = max(1, min(workers, sessions or 1))
    each = each or int(SHARE * memory) // workers
    # One worker without a limit is this process, which may have all.
    if options.is_local and workers > 1 and each < LEAST_BYTES:
        raise _memory_too_small(f"Each of {workers} workers at once, with {each / 1e9:.2f} GB of memory,")
    return Share(workers, max(1, cores // workers), each)


def _memory_too_small(who: str) -> FlairSegError:
    return FlairSegError(
        f"{who} could not load the model.",
        f"Give each worker {LEAST_BYTES / 1e9:.1f} GB or more, with fewer at once; {NEEDED_BYTES / 1e9:.1f} GB suit "
        "most images.",
        code="memory-too-small",
    )


def make_executor(options: ClusterOptions, run: str, share: Share, folder: Path) -> Executor:
    """The executor for these options; one worker on this machine is this process.

    Parameters
    ----------
    options : ClusterOptions
    run : str
        Name of the run.
    share : Share
        Of a cluster on this machine.
    folder : Path
        Folder for job scripts and logs of a batch system.

    Raises
    ------
    MissingDependencyError
        If Dask, or dask-jobqueue, is not installed.
    WorkerError
        Code ``scheduler-not-found``: nothing answers at the address.
    """
    if options.is_local and share.workers == 1 and not options.memory:
        return InProcess(run)
    _require_dask()
    from distributed import Client

    from .dask_executor import DaskExecutor

    _quiet()
    if options.scheduler:
        try:
            client = Client(options.scheduler, timeout=CONNECT_S, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise WorkerError(
                f"No scheduler answers at {options.scheduler}.",
                "Check the address, and that the scheduler runs the same version of Dask.",
                code="scheduler-not-found",
                address=options.scheduler,
            ) from error
        return DaskExecutor(run, client)
    if options.batch:
        cluster = batch_cluster(options, folder)
        write_job_script(cluster, options, folder)
        cluster.scale(jobs=options.jobs or 1)
        return DaskExecutor(run, Client(cluster, set_as_default=False), cluster, wait_s=None)
    scratch = tempfile.mkdtemp(prefix="flairseg-dask-")
    try:
        cluster = _local_cluster(options, share, scratch)
        executor = DaskExecutor(run, Client(cluster, set_as_default=False), cluster, scratch=scratch)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    if not options.dashboard:
        executor.dashboard = ""
    return executor


def _local_cluster(options: ClusterOptions, share: Share, scratch: str) -> Cluster:
    """Workers of one task each, every one a process; what passes its memory is ended and started again."""
    import warnings

    import dask
    from distributed import LocalCluster

    os.environ.setdefault("OMP_NUM_THREADS", str(share.cores))
    # Scheduler and nannies take these when they are made; other clusters of the program keep theirs.
    with (
        warnings.catch_warnings(),
        dask.config.set(
            {
                # Results are on disk: nothing is spilled, and a worker that waits at a level would wait for ever.
                "distributed.worker.memory.target": False,
                "distributed.worker.memory.spill": False,
                "distributed.worker.memory.pause": False,
                "distributed.worker.memory.terminate": _TERMINATE,
                # The sessions that kill their worker are counted by flairseg.cohort.begun.
                "distributed.scheduler.allowed-failures": 1000,
                "distributed.scheduler.worker-saturation": 1.0,
                "temporary-directory": scratch,
                # It is not viewed, and it samples every worker each 10 ms.
                "distributed.worker.profile.enabled": False,
            }
        ),
    ):
        # A requested port that is taken: another is found, and the run reports it.
        warnings.simplefilter("ignore")
        return LocalCluster(
            n_workers=share.workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=share.memory_bytes,
            host="127.0.0.1",
            # The scheduler listens for HTTP in any case; without a dashboard, at a free port of this computer.
            dashboard_address=options.dashboard or FREE_PORT,
            scheduler_kwargs={"dashboard": bool(options.dashboard)},
            silence_logs=logging.CRITICAL,
        )


def batch_cluster(options: ClusterOptions, folder: Path) -> Any:
    """The cluster of a batch system, without any job yet.

    Raises
    ------
    MissingDependencyError
        If dask-jobqueue is not installed.
    """
    _require_dask()
    try:
        import dask
        import dask_jobqueue
    except ImportError as error:
        raise _missing("dask-jobqueue") from error
    kind = getattr(dask_jobqueue, BATCH_SYSTEMS[options.batch])
    memory = options.memory or "4GB"
    size = bytes_of(memory)
    # One task at a time for each job, which shares its cores out itself.
    own: dict[str, dict[str, Any]] = {
        SLURM: {"job_cpu": options.cores, "account": options.account or None},
        PBS: {
            "resource_spec": f"select=1:ncpus={options.cores}:mem={size // 10**6}MB",
            "account": options.account or None,
        },
        LSF: {"ncpus": options.cores, "mem": size, "project": options.account or None},
    }
    return kind(
        cores=1,
        processes=1,
        memory=memory,
        walltime=options.walltime,
        job_name="flairseg",
        queue=options.queue or None,
        job_extra_directives=list(options.job_options),
        job_script_prologue=list(options.prologue),
        log_directory=str(folder / "job-logs"),
        # Any free port, unless the site configured its own.
        scheduler_options={"dashboard_address": ":0"}
        | dask.config.get(f"jobqueue.{options.batch}.scheduler-options", {}),
        **own[options.batch],
    )


def write_job_script(cluster: Any, options: ClusterOptions, folder: Path) -> Path:
    """Keep the script of the jobs where people can read it."""
    from ..files.atomic import write_whole

    path = folder / f"job-script.{options.batch}.sh"
    write_whole(path, cluster.job_script())
    return path


def _quiet() -> None:
    """Keep Dask's own messages off the screen: what matters of them is reported by the run."""
    for name in ("distributed", "distributed.nanny", "distributed.scheduler", "distributed.worker", "tornado"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _require_dask() -> None:
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise _missing("distributed") from error


def _missing(package: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"Running a cohort on several workers needs the Python package {package}.",
        "Install it with: pip install 'flairseg[cohort]'.",
        packages=[package],
    )
