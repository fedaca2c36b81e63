#compdef kubectl-dlq
# zsh completion for kubectl-dlq
_kubectl_dlq() {
    local line name
    local -a candidates
    for line in "${(@f)$(kubectl-dlq __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        [[ -z $line || $line == :* ]] && continue
        name=${line%%$'\t'*}
        name=${name//:/\\:}
        [[ $line == *$'\t'* ]] && name="$name:${line#*$'\t'}"
        candidates+=("$name")
    done
    if (( ${#candidates} )); then
        _describe 'kubectl-dlq' candidates
    else
        _files
    fi
}
compdef _kubectl_dlq kubectl-dlq
