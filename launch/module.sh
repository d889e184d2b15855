# shellcheck shell=bash
# What a script of this folder starts: sourced by the others, not run.
#
#   choose_module on|off [MODULE] FLAGS
#
# sets the array `module` to what follows `python -m`. MODULE is main, study, evaluate or another
# command, or the dotted name of any module; flags alone are those of main. `main` and `study` get
# --distributed=on or off besides.
# shellcheck disable=SC2034  # `module` is read by the script that sources this
choose_module() {
  local distributed=$1 name=main
  shift
  case ${1:-} in
    ''|-*) ;;
    *) name=$1; shift ;;
  esac
  case $name in
    *.*) ;;
    *) name=vaetx_jax.$name ;;
  esac
  case $name in
    vaetx_jax.main|vaetx_jax.study) module=("$name" "--distributed=$distributed" "$@") ;;
    *) module=("$name" "$@") ;;
  esac
}
