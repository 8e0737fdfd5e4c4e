// bigcp3d as a Nextflow module: labels and a table of the cells of each image.
//
//   include { BIGCP3D_SEGMENT } from './deploy/workflows/nextflow/main'
//   BIGCP3D_SEGMENT(channel.of([[id: 'embryo'], file('embryo.zarr')]))
//
// Options of bigcp3d: ext.args in the configuration (see nextflow.config beside this file).
// Nextflow gives each try a new folder. To continue a run that was killed, set params.bigcp3d_state to a folder that all
// machines see: labels and work directory then lie there, and the task links to them. Make the folder first, and give its
// whole path. Containers mount it.

process BIGCP3D_SEGMENT {
    tag "${meta.id}"
    label 'process_high'

    container "${params.bigcp3d_container ?: 'ghcr.io/bigcp3d/bigcp3d:0.2.0'}"
    containerOptions {
        def mount = workflow.containerEngine in ['docker', 'podman'] ? '-v' : '-B'
        params.bigcp3d_state ? "${mount} '${params.bigcp3d_state}:${params.bigcp3d_state}'" : ''
    }

    input:
    tuple val(meta), path(image)

    output:
    tuple val(meta), path("${meta.id}.labels.zarr"), emit: labels
    tuple val(meta), path("${meta.id}.cells.csv")  , emit: table
    tuple val(meta), path("${meta.id}.events.json"), emit: events
    path 'versions.yml'                            , emit: versions

    script:
    def args = task.ext.args ?: ''
    def state = params.bigcp3d_state ? "${params.bigcp3d_state}/${meta.id}" : '.'
    def memory = task.memory ? "--memory-limit ${(task.memory.toMega() * 0.9 / task.cpus).intValue()}MiB" : '' // of a worker
    """
    export NUMBA_CACHE_DIR="\$PWD/.numba" # in a container there may be no home folder
    mkdir -p '${state}'
    bigcp3d segment "\$(readlink -f '${image}')" \\
        --output '${state}/${meta.id}.labels.zarr' \\
        --table '${meta.id}.cells.csv' \\
        --work-dir '${state}/${meta.id}.work' \\
        --workers ${task.cpus} ${memory} \\
        --overwrite \\
        --json \\
        ${args} > '${meta.id}.events.json'
    [ -e '${meta.id}.labels.zarr' ] || ln -s '${state}/${meta.id}.labels.zarr' .

    printf '"%s":\\n    bigcp3d: %s\\n' '${task.process}' "\$(bigcp3d --version | sed 's/^bigcp3d //')" > versions.yml
    """

    stub:
    """
    mkdir -p '${meta.id}.labels.zarr/labels/cells'
    touch '${meta.id}.cells.csv' '${meta.id}.events.json'
    printf '"%s":\\n    bigcp3d: 0.2.0\\n' '${task.process}' > versions.yml
    """
}

workflow {
    images = channel.fromPath(params.images, type: 'any').map { path -> [[id: path.baseName], path] }
    BIGCP3D_SEGMENT(images)
}
