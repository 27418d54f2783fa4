//! Templates: versioned files with named gaps.

/// The template with every `{{name}}` replaced by its value, once: what a value holds is never read as a gap.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let Some((name, after)) = after.split_once("}}") else {
            filled.push_str("{{");
            rest = after;
            continue;
        };
        filled.push_str(values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value));
        rest = after;
    }
    filled.push_str(rest);
    filled
}

/// SHA-256 over the templates, told apart.
pub(super) fn hash(templates: &[&str]) -> String {
    let mut bytes = Vec::new();
    for template in templates {
        bytes.extend_from_slice(&(template.len() as u64).to_be_bytes());
        bytes.extend_from_slice(template.as_bytes());
    }
    farm_core::delta::sha256(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_filled_once() {
        let filled = fill("a {{x}} b {{y}}{{x}} {{z}}{{", &[("x", "{{y}}"), ("y", "2")]);
        assert_eq!(filled, "a {{y}} b 2{{y}} {{");
    }

    #[test]
    fn the_hash_changes_with_every_template() {
        let hashes =
            [hash(&["ab", "c"]), hash(&["a", "bc"]), hash(&["c", "ab"]), hash(&["ab"]), hash(&["ab", "d"])];
        for (idx, one) in hashes.iter().enumerate() {
            assert!(hashes[..idx].iter().all(|other| other != one), "{idx}");
        }
        assert_eq!(hash(&["ab", "c"]), hashes[0]);
    }
}
