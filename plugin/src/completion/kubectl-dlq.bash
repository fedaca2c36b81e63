# bash completion for kubectl-dlq
_kubectl_dlq() {
    local line directive=0
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            :*) directive=${line#:} ;;
            *) COMPREPLY+=("${line%%$'\t'*}") ;;
        esac
    done < <(kubectl-dlq __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    if ((directive & 4)); then
        compopt +o default 2>/dev/null
    fi
}
complete -o default -F _kubectl_dlq kubectl-dlq
