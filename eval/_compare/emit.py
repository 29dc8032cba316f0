"""A sweep's runs as files for other machines: plain commands, a Slurm array, hosts.

Every line can be given again: it goes on with a run that is there and makes one that is not.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

from eval._compare.plan import Planned, python_zoo
from eval.scores import write_whole
from zoo.registry import UserError

KINDS = ("commands", "slurm", "hosts")

_SLURM = """\
#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array=0-{last}
#SBATCH --output={log}
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:TERM@120
# Run number i of the array is line i + 1 of {commands}.
# Two minutes before the time limit the training is asked to stop, saves, and goes on when the same
# array is submitted again. Add your partition, time and GPUs here or on the command line of sbatch.
cd {folder} || exit 1
: "${{SLURM_ARRAY_TASK_ID:?is set by sbatch, for each task of the array}}"
line=$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" {commands})
[ -n "$line" ] || {{ echo "no line for task $SLURM_ARRAY_TASK_ID" >&2; exit 2; }}
eval "$line" &
training=$!
trap 'kill -TERM "$training" 2>/dev/null' TERM INT
wait "$training"
status=$?
if [ "$status" -gt 128 ] && kill -0 "$training" 2>/dev/null; then
  wait "$training" # until it has saved
  status=$?
fi
exit "$status"
"""


def emit(
    kind: str, planned: Sequence[Planned], out: Path, name: str, hosts: Sequence[str] = ()
) -> list[Path]:
    """Write the files of one kind into `out`.

    Args:
        kind: one of KINDS.
        planned: the runs; those that are done are written too, as they end at once.
        out: the sweep's folder.
        name: of the sweep.
        hosts: "name" or "name:processes", for "hosts".

    Returns:
        The files: for "slurm" the array and its commands, for "hosts" one a host.

    Raises:
        UserError: hosts are missing, given twice or not understood, their processes do not divide
            a batch, or a file cannot be written.
    """
    out = out.resolve()
    if kind == "hosts":
        files = _for_hosts(planned, out, hosts)
    elif kind == "slurm":
        files = _for_slurm(planned, out, name)
    else:
        lines = [_line(item, python_zoo([])) for item in planned]
        files = {out / "commands.sh": "".join(f"{line}\n" for line in lines)}
    for path, text in files.items():
        try:
            write_whole(path, text)
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}") from error
    return list(files)


def _line(item: Planned, zoo: Sequence[str], execute: str = "") -> str:
    """One line of shell that makes a run or goes on with it.

    Args:
        item: the run.
        zoo: words that start Zoo.
        execute: "exec " where the shell itself shall become the training, to get its signals.
    """
    there = shlex.quote(str(item.folder / "recipe.yaml"))
    resume, train = (
        execute + shlex.join([*zoo, *words]) for words in (item.resume_words(), item.train_words())
    )
    line = f"if [ -e {there} ]; then {resume}; else {train}; fi"
    if "\n" in line:
        raise UserError(f"{item.id}: a line break in {line!r} cannot be written as one line")
    return line


def _for_slurm(planned: Sequence[Planned], out: Path, name: str) -> dict[Path, str]:
    commands = out / "slurm_commands.sh"
    array = _SLURM.format(
        name=shlex.quote(name),
        last=len(planned) - 1,
        log=shlex.quote(str(out / "logs" / "%a.slurm.log")),
        commands=shlex.quote(str(commands)),
        folder=shlex.quote(str(Path.cwd())),
    )
    (out / "logs").mkdir(parents=True, exist_ok=True)  # Slurm does not
    lines = [_line(item, python_zoo([]), "exec ") for item in planned]
    return {out / "slurm_array.sh": array, commands: "".join(f"{line}\n" for line in lines)}


def _for_hosts(planned: Sequence[Planned], out: Path, hosts: Sequence[str]) -> dict[Path, str]:
    """Runs dealt out to hosts in turn; each host makes its own, one after the other."""
    if not hosts:
        raise UserError("--emit hosts needs --hosts: names such as a,b, or a:4 for 4 processes")
    names = [host.partition(":")[0] for host in hosts]
    if len(set(names)) < len(names):
        raise UserError(f"--hosts {','.join(hosts)}: a host is given twice")
    files = {}
    for i, host in enumerate(hosts):
        host_name, _, given = host.partition(":")
        if not host_name or "/" in host_name or (given and not given.isdecimal()):
            raise UserError(f"--hosts: {host!r} is neither a name nor name:processes")
        processes = int(given or 1)
        own = planned[i :: len(hosts)]
        for item in own:
            _refuse_uneven(item, host, processes)
        launch = ["accelerate", "launch", "--num_processes", str(processes), "--num_machines", "1"]
        launch += ["--mixed_precision", "no", "--dynamo_backend", "no"]
        launch += ["--multi_gpu"] if processes > 1 else []
        lines = [_line(item, [*launch, "-m", "zoo"]) for item in own]
        lines.insert(0, f"cd {shlex.quote(str(Path.cwd()))} || exit 1")
        files[out / "hosts" / f"{host_name}.sh"] = "".join(f"{line}\n" for line in lines)
    return files


def _refuse_uneven(item: Planned, host: str, processes: int) -> None:
    batch = item.run.recipe.train.batch
    if processes < 1 or batch % processes:
        raise UserError(
            f"--hosts {host}: {item.id} has a batch of {batch}, which {processes} processes cannot "
            f"share"
        )
