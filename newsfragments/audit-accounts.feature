Log-ins (refused ones too), users, API tokens and what people say of quirks stand in the audit; its actions are in Chinese on the Chinese page.
