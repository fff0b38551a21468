"""Examples and exit codes at the end of the help of each command."""

from __future__ import annotations

SEGMENT = """[bold]Examples[/bold]

[cyan]flairseg segment flair.nii.gz --output results[/cyan]

[cyan]flairseg segment patients/*/flair.nii.gz dicom/series7 --output results --jobs 4[/cyan]

[cyan]flairseg segment flair.nrrd --output results --device cuda --probabilities[/cyan]

[cyan]flairseg segment study --output results --dicom-out to-pacs[/cyan]

[bold]Exit codes[/bold]   0 all written   2 at least one input refused   3 not trusted (--strict)   130 interrupted
"""

EVALUATE = """[bold]Examples[/bold]

[cyan]flairseg evaluate --manifest cases.csv --output evaluation[/cyan]

[cyan]flairseg evaluate --predictions FlairSeg=results --predictions LST=lst --labels LST:lst
  --references references --output evaluation[/cyan]

[bold]Label values[/bold]   without --labels a mask contains FlairSeg's: 1 ventricles, 2 normal WMH, 3 lesions.
Presets: binary, probability, lst, lst-ai, bianca (masks of lesions), samseg, freesurfer, synthseg, wmh-synthseg,
wmh-challenge, nnunet, and for a mask of one class its id. [cyan]reference[/cyan] stands for the references.

[bold]Exit codes[/bold]   0 all evaluated   2 at least one mask refused   3 not trusted (--strict)   130 interrupted
"""

COMPARE = """[bold]Examples[/bold]

[cyan]flairseg compare flair.nii.gz --output comparison[/cyan]

[cyan]flairseg compare flair.nii.gz --models flairseg2d-distilled-v1.1,other/model.onnx --output comparison[/cyan]

[bold]Exit codes[/bold]   0 all written   2 input refused, unknown model, or a model failed
3 not trusted (--strict)   130 interrupted
"""

REPORT = """[bold]Examples[/bold]

[cyan]flairseg report results/patient_summary.json --output reports[/cyan]

[cyan]flairseg report results/patient_labels.nii.gz --flair flair.nii.gz --followup follow/patient_followup.json --output reports --pdf[/cyan]

[cyan]flairseg report cases/patient/v002 --output reports --paper letter[/cyan]

[bold]Exit codes[/bold]   0 all written   2 at least one input refused   3 not trusted (--strict)   130 interrupted
"""  # noqa: E501

FOLLOW = """[bold]Examples[/bold]

[cyan]flairseg follow 2023/flair.nii.gz 2024/flair.nii.gz --output results[/cyan]

[cyan]flairseg follow first.nii.gz second.nii.gz --labels accepted.nii.gz --labels - --output results[/cyan]

[bold]Exit codes[/bold]   0 all written   2 refused   3 not trusted (--strict)   130 interrupted
"""

COHORT = """[bold]Examples[/bold]

[cyan]flairseg cohort study-bids --output study-bids/derivatives/flairseg[/cyan]

[cyan]flairseg cohort sessions.csv --output results --dry-run[/cyan]

[cyan]flairseg cohort dicom-export --output results --jobs 8 --memory 4GB --retry-failed[/cyan]

[cyan]flairseg cohort study-bids --output results --queue --cases archive --study protocol.json[/cyan]

[cyan]flairseg cohort study-bids --output results --slurm --jobs 50 --partition short --walltime 02:00:00[/cyan]

[bold]Exit codes[/bold]   0 every session with a FLAIR has a result   2 sessions failed, or the run could not continue
3 not trusted (--strict)   130 interrupted
"""

ADAPT = """[bold]Examples[/bold]

[cyan]flairseg adapt cases --output site-model[/cyan]

[cyan]flairseg adapt cases --output site-model --time 1h --base flairseg2d-distilled-v1.1[/cyan]

[cyan]flairseg models --use site-model[/cyan]   [cyan]flairseg models --rollback[/cyan]

[bold]Exit codes[/bold]   0 written, whatever the verdict   2 refused   130 interrupted
"""

MODELS = """[bold]Examples[/bold]

[cyan]flairseg models[/cyan]

[cyan]flairseg models --use flairseg2d-site-v1.0[/cyan]   [cyan]flairseg models --rollback[/cyan]

[cyan]flairseg models --export flairseg2d-site-v1.0 --file site.zip[/cyan]

[cyan]flairseg models --install site.zip[/cyan]
"""
