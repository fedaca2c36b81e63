# fish completion for kubectl-dlq
function __kubectl_dlq_complete
    set -l words (commandline -opc) (commandline -ct)
    set -e words[1]
    for line in (kubectl-dlq __complete $words 2>/dev/null)
        switch $line
            case ':0'
                __fish_complete_path (commandline -ct)
            case ':*'
            case '*'
                echo $line
        end
    end
end
complete -c kubectl-dlq -f -a '(__kubectl_dlq_complete)'
