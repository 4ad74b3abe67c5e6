# Layers of section -> key -> value as one TOML document; of two layers the later wins. What JSON writes for a text, a
# number, a truth value or a list of them is TOML too.

variable "heading" {
  type = string
}

variable "layers" {
  description = "Tuple of { section = { key = value } }; the section \"\" is the top of the document."
  type        = any
}

output "text" {
  value = join("\n", [
    for section in sort(distinct(flatten([for layer in var.layers : keys(layer)]))) : join("\n", concat(
      section == "" ? ["# ${var.heading}"] : ["[${section}]"],
      [
        for key, value in merge([
          for layer in var.layers : { for key, value in try(layer[section], {}) : key => jsonencode(value) }
        ]...) : "${key} = ${value}"
      ],
      [""],
    ))
  ])
}
