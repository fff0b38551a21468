"""The benchmark's figures as tables on the screen."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table


def show_steps(console: Console, steps: dict) -> None:
    """Print the steps after the segmentation, and their parts."""
    table = Table(title="Step by step, warm, two CPU threads", title_justify="left")
    for column in ("step", "given", "seconds", "peak memory", "aim"):
        table.add_column(column, justify="left" if column in ("step", "given") else "right")
    for step in steps.values():
        memory = f"{step['peak_mb']:.0f} MB"
        table.add_row(step["title"], step["given"], f"{step['warm_seconds']:.2f} s", memory, step["aim"])
        for part, seconds in step["part_seconds"].items():
            table.add_row(f"  {part}", "", f"{seconds:.3f} s")
        if "each" in step:
            table.add_row(f"  each {step['each']['what']}", "", f"{step['each']['seconds']:.3f} s")
        if "process_start_seconds" in step:
            memory = f"{step['process_peak_mb']:.0f} MB"
            table.add_row("  the command, from process start", "", f"{step['process_start_seconds']:.2f} s", memory)
    console.print(table)


def show(console: Console, report: dict) -> None:
    """Print the report of the segmentation as tables."""
    cpu, gpu = report["cpu"], report["gpu"]
    console.print(_case_table(cpu))
    table = _table("Seconds per stage, warm, with regions", "stage", "seconds")
    for stage, seconds in cpu["stage_seconds"].items():
        table.add_row(stage, f"{seconds:.3f}")
    console.print(table)
    console.print(_growth_table(cpu["growth"]))
    console.print(_batch_table(cpu["batch"]))
    if gpu["tested"]:
        console.print(
            f"GPU ({gpu['provider']}): warm {gpu['warm_seconds']:.2f} s; "
            f"{gpu['voxels_differing_from_cpu']} of {gpu['foreground_voxels']} foreground voxels differ from the CPU's."
        )
    else:
        console.print(gpu["note"])


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for n, column in enumerate(columns):
        table.add_column(column, justify="right" if n else "left")
    return table


def case_rows(cpu: dict) -> list[list[str]]:
    """What is said of a case of 20 x 256 x 256: clock, processor, share of the yardstick's processor time, memory."""
    network = cpu["reference_cpu_seconds"]

    def row(name: str, seconds: float, used: float, memory: float = 0.0) -> list[str]:
        return [
            name,
            f"{seconds:.2f} s",
            f"{used:.2f} s",
            f"{used / network:.2f}",
            f"{memory:.0f} MB" if memory else "",
        ]

    rows = []
    for version, figures in cpu["versions"].items():
        name = "this version" if version == "ours" else f"before ({cpu['before']['commit'].split()[0]})"
        for kind in ("with regions", "without regions"):
            found = figures[kind]
            memory = figures["peak_mb"] if kind == "with regions" else 0.0
            rows.append(row(f"{name}, {kind}, warm", found["seconds"], found["cpu_seconds"], memory))
    start = cpu["process_start_seconds"], cpu["process_start_cpu_seconds"], cpu["process_peak_mb"]
    rows.append(row("from process start (flairseg segment)", *start))
    title = f"S1-size generator alone ({cpu['reference_parameters'] / 1e6:.1f} M parameters, batch 1)"
    rows.append(row(title, cpu["reference_seconds"], network, cpu["reference_peak_mb"]))
    return rows


def _case_table(cpu: dict) -> Table:
    title = "20 x 256 x 256, file to files, two CPU threads"
    table = _table(title, "", "clock", "processor", "of the generator", "peak memory")
    for row in case_rows(cpu):
        table.add_row(*row)
    if (before := cpu.get("before")) is not None:
        table.caption = (
            f"Before: {before['commit']}\nProcessor time: {before['cpu_ratio']:.2f} of the version before; labels "
            f"differ in {before['voxels_differing']} of {before['foreground_voxels']} voxels."
        )
    return table


def _growth_table(growth: dict) -> Table:
    table = _table(
        "Growth, with regions", "slices x rows x columns", "clock", "processor", "voxels", "x", "peak memory"
    )
    base = next(iter(growth))
    for name, row in growth.items():
        times, used = count(name) / count(base), row["cpu_seconds"]
        ratio, memory = used / growth[base]["cpu_seconds"], f"{row['peak_mb']:.0f} MB"
        spent = f"{row['warm_seconds']:.2f} s", f"{used:.2f} s"
        table.add_row(name, *spent, f"x {times:.1f}", f"x {ratio:.1f}", memory)
    return table


def batch_rows(batch: dict) -> list[list[str]]:
    """Calls with one case and with several."""
    names = {
        "one": "1 case",
        "all": f"{batch['cases']} cases, one after another",
        "side by side": f"{batch['cases']} cases, two at once",
    }
    return [
        [name, f"{row['seconds']:.2f} s", f"{row['cpu_seconds']:.2f} s", f"{row['peak_mb']:.0f} MB"]
        for key, name in names.items()
        for row in [batch[key]]
    ]


def _batch_table(batch: dict) -> Table:
    table = _table("A batch, from process start", "", "clock", "processor", "peak memory (largest process)")
    for row in batch_rows(batch):
        table.add_row(*row)
    return table


def count(grid: str) -> int:
    """Voxels of a grid named like ``20 x 256 x 256``."""
    slices, rows, columns = (int(side) for side in grid.split(" x "))
    return slices * rows * columns
