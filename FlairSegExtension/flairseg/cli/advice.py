"""Advice of the command line by error code, naming options.

The core names no option: its errors carry a code, fields and advice valid in every front end. More specific phrases of
the command line are here, Slicer's in ``FlairSegLib/phrasing.py``.
"""

from __future__ import annotations

from ..errors import FlairSegError

#: Code of an error -> advice; ``{name}`` is filled in from the error's fields.
PHRASES: dict[str, str] = {
    "results-exist": "Nothing was replaced. Add --overwrite to replace it, or choose another --output folder.",
    "nothing-marked": "Check that they are the right files. If no lesion was found, add --labels {who}:binary.",
    "other-report": "Nothing was replaced. Choose another --output folder, or move that report away.",
    "folder-of-images": "Give the image file itself, for instance {example}, or the whole folder to `flairseg cohort`.",
    "other-input": "Nothing was replaced. Choose another --output folder, or give this case another name with --name.",
    "binary-references": "If value 1 marks lesions in the references, add --labels reference:binary.",
    "no-class-in-common": "State what values mean: --labels reference:1=lesion, --labels METHOD:1=lesion.",
    "self-grade-needs-model": "Leave out --labels, or --self-grade.",
    "case-name-taken": "Give each input a --name, in order, or process it separately with another --output folder.",
    "names-do-not-match": "Give --name once for each input, in order, or not at all.",
    "output-no-folder": "Choose another folder.",
    "output-name-not-text": "Choose another folder.",
    "output-read-only": "Choose another folder, or ask for write permission.",
    "output-path-too-long": "Choose a shorter path.",
    "disk-full": "Free some space, or choose a folder on another disk.",
    "pseudonym-key-too-short": "Name a --pseudonym-key file that does not exist: a strong key is stored there.",
    "pseudonym-map-taken": "Name another --pseudonym-map file.",
    "pseudonym-map-of-another-key": "Name the same --pseudonym-key as before, or another --pseudonym-map file.",
    "pseudonyms-not-asked-for": "Add --pseudonymise, or leave --pseudonym-key and --pseudonym-map out.",
    "pseudonym-key-needed": "Name a --pseudonym-key file, apart from the results; it is created if it does not exist.",
    "pseudonym-key-inside": "Name --pseudonym-key and --pseudonym-map files in another folder.",
    "cohort-in-progress": "Wait until it has ended, or choose another --output folder.",
    "output-is-source": "Choose another --output folder.",
    "review-needs-images": "Pseudonymise the images first, or leave --queue and --study out.",
    "study-exists": "It was kept. Name another --study file.",
    "quarantined": "Often a worker had too little memory for the image: allow more with --memory, then add "
    "--retry-failed.",
    "no-workers": "Start workers for it (`dask worker ADDRESS --nthreads 1`) in an environment with this FlairSeg.",
    "network-failed": "Try --device cpu; if that fails too, the model does not fit its card.",
    "onnx-not-loaded": "It is not an ONNX network, or needs a newer onnxruntime: `pip install --upgrade onnxruntime`.",
    "unknown-model": "`flairseg models` lists the installed models; $FLAIRSEG_MODELS names further folders.",
    "model-path-not-found": "Check the path, or list the installed models with `flairseg models`.",
    "model-in-use-missing": "Install it again, or go back: `flairseg models --rollback`.",
    "model-in-use-changed": "Select it again (`flairseg models --use {model}`), or go back with --rollback.",
    "parent-missing": "Install {parent} again (`flairseg models --install FILE`; sha256 {sha256}), or name the model "
    "for this run: --model {model}.",
    "parent-changed": "Install the {parent} with sha256 {sha256} again (`flairseg models --install FILE`), or name the "
    "model for this run: --model {model}.",
    "model-in-use": "Go back first with `flairseg models --rollback`, or choose another one with --use.",
    "model-not-better": "To use it nevertheless, add --anyway.",
    "convention-not-accepted": "If that is so, add --accept with {codes}; else correct the masks and adapt again.",
    "base-is-adapted": "Name its parent: --base {parent}.",
    "no-model-before": "Choose one with `flairseg models --use ID`.",
    "adaptation-time-too-short": "Allow more with --time {minutes}m, or use fewer cases.",
    "adaptation-packages-missing": "Install them with `pip install 'flairseg[adapt]'`.",
    "model-member-missing": "Install {model} first; `flairseg models` lists the installed models.",
    "unnamed-labels": "State their meaning with --labels {prefix}{suggestion} (classes: 1 ventricles, 2 normal_wmh, "
    "3 lesion, 0 background), or with a preset such as --labels {prefix}binary.",
    "labels-not-in-mapping": "State their meaning with --labels {prefix}{suggestion} (classes: 1 ventricles, "
    "2 normal_wmh, 3 lesion, 0 background).",
    "probabilities-not-labels": "If they are probabilities of lesions, add --labels {prefix}probability; else give the "
    "label map.",
    "implausible-labels": "State the meaning of the values with --labels {prefix}VALUE=CLASS,..., or add --labels "
    "{prefix}flairseg if it contains FlairSeg's labels nevertheless.",
    "no-lesion-class": "Give a label map with the lesions, or state which of its values they are with --labels "
    "VALUE=lesion.",
    "threshold-without-probabilities": "Add --labels {method}:probability if its masks are probabilities of lesions.",
    "unknown-label-mapping": "Write --labels VALUE=CLASS,... such as 1=lesion,2=normal_wmh, or one of: {presets}.",
    "several-studies": "Give the folder of one study, or name the SeriesInstanceUID with --series.",
    "several-patients": "Give the folder of one patient, or name the SeriesInstanceUID with --series; correct headers "
    "that disagree.",
    "no-series-looks-like-flair": "Put the files of the FLAIR series alone into a folder and give that, or name the "
    "series with --series.",
    "study-unfinished": "Wait for them, or add --incomplete; the report states this.",
    "no-common-case": "Rename the files so that their case names agree, or list the pairs in a table and give "
    "--manifest.",
    "several-masks-of-a-case": "Keep one of them there, or list the pairs in a table and give --manifest.",
    "flair-not-found": "Name it with --flair.",
    "no-study": "Name the folder of a study, or lock a protocol first: `flairseg study lock PROTOCOL --study FOLDER`.",
    "study-still-open": "Close it first: `flairseg study close`. No answers are accepted afterwards.",
    "room-altered": "Stop rating, keep the folder as it is, and ask the coordinator to run `flairseg study check`.",
    "record-altered": "Stop rating, keep the folder as it is, and ask the coordinator to run `flairseg study check`.",
}


def advice(error: FlairSegError) -> str:
    """Advice with the options of the command line; the error's own where there is no phrase."""
    return error.advice_of(PHRASES)
